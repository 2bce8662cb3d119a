//! Reads scalars by the rules of YAML 1.1 that kubectl follows.

use granit_parser::Tag;
use serde_json::Value;

use super::number;

/// Returns the value of a scalar. `plain` is true for a scalar without quotes.
pub(super) fn value(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let string = || Ok(Value::String(text.to_owned()));
    let Some(tag) = tag else {
        return if plain { resolve(text) } else { string() };
    };
    let Some(kind) = tag.core_suffix() else {
        return string();
    };
    let value = match kind {
        "str" | "timestamp" => return string(),
        "int" | "float" | "bool" | "null" => resolve(text)?,
        other => return Err(format!("the tag !!{other} is not supported: leave it out")),
    };
    let fits = match (&value, kind) {
        (Value::Number(number), "int") => !number.is_f64(),
        (Value::Number(_), "float") | (Value::Bool(_), "bool") | (Value::Null, "null") => true,
        _ => false,
    };
    if fits {
        Ok(value)
    } else {
        Err(format!("`{text}` is not of the type that its tag !!{kind} gives"))
    }
}

/// Returns the value that kubectl gives a plain scalar.
fn resolve(text: &str) -> Result<Value, String> {
    Ok(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(format!("`{text}` has no form in JSON: quote it")),
        _ => match text.bytes().next() {
            Some(b'.') => match float(text) {
                Some(value) => number::from_f64(value)?,
                None => Value::String(text.to_owned()),
            },
            Some(b'+' | b'-' | b'0'..=b'9') => {
                let digits = text.replace('_', "");
                match (integer(&digits), float(&digits)) {
                    (Some(value), _) => value?,
                    (None, Some(value)) => number::from_f64(value)?,
                    (None, None) => Value::String(text.to_owned()),
                }
            }
            _ => Value::String(text.to_owned()),
        },
    })
}

/// Parses an integer as Go's `ParseInt` and `ParseUint` do with base 0. Returns `None` where the text is no integer.
fn integer(text: &str) -> Option<Result<Value, String>> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (Some('-'), text.get(1..)?),
        [b'+', ..] => (Some('+'), text.get(1..)?),
        _ => (None, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let signed = if sign == Some('-') {
        format!("-{digits}")
    } else {
        digits.to_owned()
    };
    if let Ok(value) = i64::from_str_radix(&signed, base) {
        return Some(Ok(Value::from(value)));
    }
    // Go's `ParseUint` accepts no sign.
    let value = sign.is_none().then(|| u64::from_str_radix(digits, base).ok());
    value.flatten().map(number::from_u64)
}

/// Parses a number that has a fraction or an exponent, or that is too large for an integer. Returns `None` where the text is a
/// string.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let fits = match mantissa.split_once('.') {
        Some(("", fraction)) => are_digits(fraction),
        Some((whole, fraction)) => are_digits(whole) && (fraction.is_empty() || are_digits(fraction)),
        None => are_digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|e| are_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    if !fits || !exponent_fits {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}
