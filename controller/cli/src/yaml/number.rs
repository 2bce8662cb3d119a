//! Converts numbers to the JSON values that the API server stores.

use serde_json::{Number, Value};

/// Converts a number as the API server does: a number without a fraction that fits an `i64` becomes an integer.
pub(super) fn from_f64(value: f64) -> Result<Value, String> {
    if value.abs() < 1e21
        && let Ok(whole) = value.to_string().parse::<i64>()
    {
        return Ok(Value::from(whole));
    }
    let number = Number::from_f64(value).ok_or("a number is not finite")?;
    Ok(Value::Number(number))
}

/// Converts an unsigned integer as the API server does: one that exceeds an `i64` becomes a floating-point number.
pub(super) fn from_u64(value: u64) -> Result<Value, String> {
    // The API server loses these digits, too.
    #[allow(clippy::cast_precision_loss)]
    i64::try_from(value).map_or_else(|_| from_f64(value as f64), |value| Ok(Value::from(value)))
}
