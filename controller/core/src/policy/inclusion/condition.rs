//! Whether the conditions of one statement imply those of another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::pattern::{Kind, Pattern};
use crate::policy::document::Caseless;

/// The conditions of a statement: values by operator and key.
pub type Conditions = BTreeMap<Caseless, BTreeMap<Caseless, BTreeSet<String>>>;

/// Returns true if every request that meets `inner` meets `outer`: each condition of `outer` follows from one of `inner`.
pub fn implies(inner: &Conditions, outer: &Conditions, has_variables: bool) -> bool {
    outer.iter().all(|(operator, keys)| {
        keys.iter().all(|(key, values)| {
            let mut candidates = inner.iter().filter_map(|(own, keys)| Some((own, keys.get(key)?)));
            candidates.any(|(own, own_values)| {
                follows(own.as_str(), own_values, operator.as_str(), values, has_variables)
            })
        })
    })
}

/// An operator in lower case, without `IfExists`.
struct Operator {
    base: String,
    /// True if a request without the key meets the condition.
    if_exists: bool,
}

impl Operator {
    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.strip_suffix("ifexists") {
            Some(base) => Self {
                base: base.to_owned(),
                if_exists: true,
            },
            None => Self {
                base: name,
                if_exists: false,
            },
        }
    }
}

/// Returns true if the condition `b` follows from the condition `a` on the same key.
fn follows(
    a: &str,
    a_values: &BTreeSet<String>,
    b: &str,
    b_values: &BTreeSet<String>,
    has_variables: bool,
) -> bool {
    let (a, b) = (Operator::of(a), Operator::of(b));
    // A request without the key meets `a` only if it has `IfExists`, or compares for difference.
    if a.if_exists && !b.if_exists && !is_negated(&b.base) {
        return false;
    }
    if a.base == b.base && a_values == b_values {
        return true;
    }
    // Operators for sets, `Null` and operators that are not known are compared for equality only.
    if is_negated(&a.base) != is_negated(&b.base) || !is_comparable(&a.base) || !is_comparable(&b.base) {
        return false;
    }
    let covers = |outer: &str, inner: &str| value_covers(&b.base, outer, &a.base, inner, has_variables);
    if is_negated(&a.base) {
        // What differs from more differs from less: each value of `b` is one of `a`.
        let covers = |outer: &str, inner: &str| value_covers(&a.base, outer, &b.base, inner, has_variables);
        return b_values
            .iter()
            .all(|value| a_values.iter().any(|own| covers(own, value)));
    }
    a_values
        .iter()
        .all(|value| b_values.iter().any(|other| covers(other, value)))
}

fn is_negated(base: &str) -> bool {
    matches!(
        base,
        "stringnotequals"
            | "stringnotequalsignorecase"
            | "stringnotlike"
            | "numericnotequals"
            | "datenotequals"
            | "notipaddress"
            | "arnnotequals"
            | "arnnotlike"
    )
}

fn is_comparable(base: &str) -> bool {
    matches!(
        positive(base),
        "stringequals" | "stringequalsignorecase" | "stringlike" | "arnlike" | "bool" | "ipaddress"
    ) || order(positive(base)).is_some()
}

/// Returns true if what equals `inner` by the operator `inner_by` equals `outer` by `outer_by`, too. Operators are without their negation.
fn value_covers(outer_by: &str, outer: &str, inner_by: &str, inner: &str, has_variables: bool) -> bool {
    let (outer_by, inner_by) = (positive(outer_by), positive(inner_by));
    let literal = |text: &str| Pattern::literal(text, has_variables);
    let pattern = |text: &str| Pattern::parse(text, Kind::Text, has_variables);
    match (outer_by, inner_by) {
        ("stringequals", "stringequals") => outer == inner,
        ("stringequalsignorecase", "stringequals" | "stringequalsignorecase") => {
            literal(outer).folded() == literal(inner).folded()
        }
        ("stringlike", "stringequals") => pattern(outer).covers(&literal(inner), Kind::Text),
        ("stringlike", "stringlike") => pattern(outer).covers(&pattern(inner), Kind::Text),
        // ArnEquals and ArnLike behave in the same way.
        ("arnlike", "arnlike") => {
            let arn = |text: &str| Pattern::parse(text, Kind::Arn, has_variables);
            arn(outer).covers(&arn(inner), Kind::Arn)
        }
        ("bool", "bool") => outer.eq_ignore_ascii_case(inner),
        ("ipaddress", "ipaddress") => match (network(outer), network(inner)) {
            (Some(outer), Some(inner)) => contains(outer, inner),
            _ => outer == inner,
        },
        (outer_by, inner_by) => match (order(outer_by), order(inner_by)) {
            (Some((outer_kind, outer_by)), Some((inner_kind, inner_by))) if outer_kind == inner_kind => {
                let number = |text: &str| number(outer_kind, text);
                match (number(outer), number(inner)) {
                    (Some(outer), Some(inner)) => is_within(outer_by, outer, inner_by, inner),
                    _ => outer_by == inner_by && outer == inner,
                }
            }
            _ => outer_by == inner_by && outer == inner,
        },
    }
}

/// Returns an operator without its negation, and one name for operators that behave in the same way.
fn positive(base: &str) -> &str {
    match base {
        "stringnotequals" => "stringequals",
        "stringnotequalsignorecase" => "stringequalsignorecase",
        "stringnotlike" => "stringlike",
        "numericnotequals" => "numericequals",
        "datenotequals" => "dateequals",
        "notipaddress" => "ipaddress",
        "arnequals" | "arnnotequals" | "arnnotlike" => "arnlike",
        other => other,
    }
}

/// What a number or a date is compared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    Number,
    Date,
}

fn order(base: &str) -> Option<(Quantity, Order)> {
    let (quantity, rest) = match base.strip_prefix("numeric") {
        Some(rest) => (Quantity::Number, rest),
        None => (Quantity::Date, base.strip_prefix("date")?),
    };
    let order = match rest {
        "equals" => Order::Equal,
        "lessthan" => Order::Less,
        "lessthanequals" => Order::AtMost,
        "greaterthan" => Order::Greater,
        "greaterthanequals" => Order::AtLeast,
        _ => return None,
    };
    Some((quantity, order))
}

/// Parses whole numbers, and dates to the second. Others are compared as texts.
fn number(quantity: Quantity, text: &str) -> Option<i64> {
    match quantity {
        Quantity::Number => text.parse().ok(),
        Quantity::Date => match text.parse::<Timestamp>() {
            Ok(time) if time.subsec_nanosecond() == 0 => Some(time.as_second()),
            Ok(_) => None,
            Err(_) => text.parse().ok(),
        },
    }
}

/// Returns true if every number that is `inner_by` of `inner` is `outer_by` of `outer`. Numbers need not be whole.
const fn is_within(outer_by: Order, outer: i64, inner_by: Order, inner: i64) -> bool {
    match (outer_by, inner_by) {
        (Order::Equal, Order::Equal) => outer == inner,
        (Order::Less, Order::Equal | Order::AtMost) => inner < outer,
        (Order::Less, Order::Less) | (Order::AtMost, Order::Equal | Order::Less | Order::AtMost) => {
            inner <= outer
        }
        (Order::Greater, Order::Equal | Order::AtLeast) => inner > outer,
        (Order::Greater, Order::Greater)
        | (Order::AtLeast, Order::Equal | Order::Greater | Order::AtLeast) => inner >= outer,
        _ => false,
    }
}

/// Parses an address or a network: its bits, its prefix and the number of bits.
fn network(text: &str) -> Option<(u128, u32, u32)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let (bits, width) = match address.parse().ok()? {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let prefix = match prefix {
        Some(prefix) => prefix.parse().ok()?,
        None => width,
    };
    (prefix <= width).then_some((bits, prefix, width))
}

fn contains(outer: (u128, u32, u32), inner: (u128, u32, u32)) -> bool {
    let ((outer, outer_prefix, outer_width), (inner, inner_prefix, inner_width)) = (outer, inner);
    let shifted = |bits: u128| bits.checked_shr(outer_width - outer_prefix).unwrap_or_default();
    outer_width == inner_width && outer_prefix <= inner_prefix && shifted(outer) == shifted(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns true if `b` follows from `a`, each as `operator value,value`.
    fn check(a: &str, b: &str) -> bool {
        let read = |text: &str| {
            let (operator, values) = text.split_once(' ').unwrap();
            let values: BTreeSet<String> = values.split(',').map(str::to_owned).collect();
            (operator.to_owned(), values)
        };
        let ((a, a_values), (b, b_values)) = (read(a), read(b));
        follows(&a, &a_values, &b, &b_values, true)
    }

    #[test]
    fn a_condition_follows_from_a_stronger_one() {
        for (a, b, is_implied) in [
            ("StringEquals x", "StringEquals x,y", true),
            ("StringEquals x,y", "StringEquals x", false),
            ("StringEquals x", "StringLike x*", true),
            ("StringLike x*", "StringEquals x", false),
            ("StringLike xy*", "StringLike x*", true),
            ("StringEquals x*", "StringLike x?", true),
            ("StringEquals X", "StringEqualsIgnoreCase x", true),
            ("StringEqualsIgnoreCase x", "StringEquals x", false),
            ("StringNotEquals x,y", "StringNotEquals x", true),
            ("StringNotEquals x", "StringNotEquals x,y", false),
            ("StringNotLike x*", "StringNotEquals xy", true),
            ("StringNotEquals xy", "StringNotLike x*", false),
            ("StringEquals x", "StringEqualsIfExists x", true),
            ("StringEqualsIfExists x", "StringEquals x", false),
            ("StringNotEqualsIfExists x", "StringNotEquals x", true),
            ("StringEquals x", "StringNotEquals y", false),
            ("Bool true", "Bool TRUE", true),
            ("Bool true", "BoolIfExists true", true),
            ("IpAddress 10.1.0.0/16", "IpAddress 10.0.0.0/8", true),
            ("IpAddress 10.0.0.0/8", "IpAddress 10.1.0.0/16", false),
            ("IpAddress 10.1.2.3", "IpAddress 0.0.0.0/0", true),
            ("IpAddress ::1", "IpAddress 0.0.0.0/0", false),
            ("NotIpAddress 10.0.0.0/8", "NotIpAddress 10.1.0.0/16", true),
            ("NumericLessThan 5", "NumericLessThan 6", true),
            ("NumericLessThan 5", "NumericLessThanEquals 5", true),
            ("NumericLessThanEquals 5", "NumericLessThan 5", false),
            ("NumericEquals 5", "NumericGreaterThanEquals 5", true),
            ("NumericLessThan 5.5", "NumericLessThan 6", false),
            (
                "DateLessThan 2026-01-01T00:00:00Z",
                "DateLessThan 2027-01-01T00:00:00Z",
                true,
            ),
            (
                "DateGreaterThan 2026-01-01T00:00:00Z",
                "DateGreaterThan 2027-01-01T00:00:00Z",
                false,
            ),
            ("NumericEquals 5", "DateEquals 5", false),
            ("ArnEquals arn:aws:s3:::b", "ArnLike arn:aws:s3:::*", true),
            ("Null true", "Null true", true),
            ("Null true", "Null false", false),
            ("ForAllValues:StringEquals x", "ForAllValues:StringEquals x", true),
            (
                "ForAllValues:StringEquals x",
                "ForAllValues:StringEquals x,y",
                false,
            ),
            ("ForAnyValue:StringEquals x", "StringEquals x", false),
        ] {
            assert_eq!(check(a, b), is_implied, "{a} => {b}");
        }
    }
}
