//! The conditions of a statement: [operators](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html),
//! [global keys](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html), and
//! the canonical form of values.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// All condition operators, without the prefixes `ForAllValues:` and `ForAnyValue:` and the suffix `IfExists`.
pub const OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnNotEquals",
    "ArnLike",
    "ArnNotLike",
    "Null",
];

/// All global condition keys. A key that ends in a slash is followed by the key of a tag.
pub const GLOBAL_KEYS: &[&str] = &[
    "aws:AssumedRoot",
    "aws:CalledVia",
    "aws:CalledViaAWSMCP",
    "aws:CalledViaFirst",
    "aws:CalledViaLast",
    "aws:ChatbotSourceArn",
    "aws:CurrentTime",
    "aws:Ec2InstanceSourcePrivateIPv4",
    "aws:Ec2InstanceSourceVpc",
    "aws:EpochTime",
    "aws:FederatedProvider",
    "aws:IsMcpServiceAction",
    "aws:MultiFactorAuthAge",
    "aws:MultiFactorAuthPresent",
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalIsAWSService",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgMasterAccountId",
    "aws:PrincipalOrgPaths",
    "aws:PrincipalServiceName",
    "aws:PrincipalServiceNamesList",
    "aws:PrincipalTag/",
    "aws:PrincipalType",
    "aws:RequestTag/",
    "aws:RequestedRegion",
    "aws:ResourceAccount",
    "aws:ResourceOrgID",
    "aws:ResourceOrgPaths",
    "aws:ResourceTag/",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceIdentity",
    "aws:SourceIp",
    "aws:SourceOrgID",
    "aws:SourceOrgPaths",
    "aws:SourceOwner",
    "aws:SourceVpc",
    "aws:SourceVpcArn",
    "aws:SourceVpce",
    "aws:TagKeys",
    "aws:TokenIssueTime",
    "aws:UserAgent",
    "aws:ViaAWSMCPService",
    "aws:ViaAWSService",
    "aws:VpcSourceIp",
    "aws:VpceAccount",
    "aws:VpceOrgID",
    "aws:VpceOrgPaths",
    "aws:referer",
    "aws:userid",
    "aws:username",
];

/// Returns an operator without `ForAllValues:`, `ForAnyValue:` and `IfExists`, in the case in which it is written.
pub fn base(operator: &str) -> &str {
    let strip = |text: &'_ str, prefix: &str| -> bool {
        text.get(..prefix.len())
            .is_some_and(|p| p.eq_ignore_ascii_case(prefix))
    };
    let mut rest = operator;
    for prefix in ["ForAllValues:", "ForAnyValue:"] {
        if strip(rest, prefix) {
            rest = rest.get(prefix.len()..).unwrap_or_default();
        }
    }
    let cut = rest.len().saturating_sub("IfExists".len());
    match rest.get(cut..) {
        Some(end) if end.eq_ignore_ascii_case("IfExists") => rest.get(..cut).unwrap_or_default(),
        _ => rest,
    }
}

/// Returns the base of an operator that does not match a missing key. `None` for `ForAllValues:` and `IfExists`, which match if the
/// request does not have the key.
pub fn matching(operator: &str) -> Option<&str> {
    let base = base(operator);
    let affixes = operator.len().saturating_sub(base.len());
    let any = "ForAnyValue:";
    let prefixed = || {
        operator
            .get(..any.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(any))
    };
    (affixes == 0 || (affixes == any.len() && prefixed())).then_some(base)
}

/// Returns the canonical form of a value, by the type of the operator. Values that the operator treats as equal have the same
/// canonical form.
pub fn canonical_value(operator: &str, value: String) -> String {
    let base = base(operator).to_ascii_lowercase();
    let canonical = match base.as_str() {
        "bool" | "null" | "stringequalsignorecase" | "stringnotequalsignorecase" => {
            Some(value.to_ascii_lowercase())
        }
        "ipaddress" | "notipaddress" => network(&value),
        _ if base.starts_with("numeric") => number(&value),
        _ if base.starts_with("date") => instant(&value),
        _ => None,
    };
    canonical.unwrap_or(value)
}

/// Returns the canonical form of an address or a network: `10.0.0.0` becomes `10.0.0.0/32`, and an IPv6 address its shortest form.
fn network(text: &str) -> Option<String> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, n)| (a, Some(n)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32_u8 } else { 128 };
    let length = length.map_or(Some(longest), |n| n.parse().ok())?;
    (length <= longest).then(|| format!("{address}/{length}"))
}

/// Returns the canonical form of a number: `+007.50` becomes `7.5`. It works on the text, because a float would round long
/// numbers.
fn number(text: &str) -> Option<String> {
    let (minus, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{minus}{whole}"),
        (whole, fraction) => format!("{minus}{whole}.{fraction}"),
    })
}

/// Returns the problem of a value that the operator cannot compare, by the type of the operator. `None` if the value is valid or
/// the operator compares text.
pub fn value_problem(operator: &str, value: &str) -> Option<ValueProblem> {
    let base = base(operator).to_ascii_lowercase();
    let lower = value.to_ascii_lowercase();
    let parses = match base.as_str() {
        "bool" | "null" => lower == "true" || lower == "false",
        "ipaddress" | "notipaddress" => network(value).is_some(),
        _ if base.starts_with("numeric") => number(value).is_some() || value.parse::<f64>().is_ok(),
        _ if base.starts_with("date") => {
            return (!is_date(value)).then_some(ValueProblem {
                expected: "a date such as 2026-01-31T00:00:00Z, or seconds since 1970",
                refused: true,
            });
        }
        _ => true,
    };
    let expected = match base.as_str() {
        "bool" | "null" => "true or false",
        "ipaddress" | "notipaddress" => "an address or a network such as 203.0.113.0/24",
        _ => "a number",
    };
    (!parses).then_some(ValueProblem {
        expected,
        refused: false,
    })
}

/// The problem of a value that its operator cannot compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueProblem {
    /// The values that the operator accepts, for messages.
    pub expected: &'static str,
    /// True if IAM refuses the document. If false, IAM accepts it and the value never matches.
    pub refused: bool,
}

/// Returns true if IAM accepts a date: a year, with or without month, day, time and zone, or seconds since the epoch. Dates are
/// the only values that IAM parses when it accepts a policy.
fn is_date(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits(text) {
        return text.parse::<i64>().is_ok();
    }
    if text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok() || text.parse::<Date>().is_ok() {
        return true;
    }
    let year_and_month = text.split_once('-').map(|(year, month)| {
        digits(year) && year.len() == 4 && digits(month) && (1..=12).contains(&month.parse().unwrap_or(0))
    });
    year_and_month.unwrap_or_default()
}

/// Returns the canonical form of a date in [ISO 8601](http://www.w3.org/TR/NOTE-datetime) or in seconds since the epoch.
fn instant(text: &str) -> Option<String> {
    if let Ok(seconds) = text.parse::<i64>()
        // Four digits are a year.
        && text.len() > 4
    {
        return Timestamp::from_second(seconds).ok().map(|t| t.to_string());
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.to_string());
    }
    let date: Date = (text.len() == 10).then(|| text.parse().ok())??;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?;
    Some(midnight.timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_canonical_form_by_the_type_of_the_operator() {
        for (operator, value, form) in [
            ("Bool", "True", "true"),
            ("Null", "FALSE", "false"),
            ("StringEqualsIgnoreCase", "AbC", "abc"),
            ("StringEquals", "AbC", "AbC"),
            ("ArnLike", "arn:aws:iam::1:role/*", "arn:aws:iam::1:role/*"),
            ("IpAddress", "10.0.0.1", "10.0.0.1/32"),
            ("NotIpAddress", "2001:DB8:0:0::1/64", "2001:db8::1/64"),
            ("IpAddress", "10.0.0.1/33", "10.0.0.1/33"),
            ("ForAnyValue:IpAddressIfExists", "10.0.0.1", "10.0.0.1/32"),
            ("NumericLessThan", "+007.50", "7.5"),
            ("NumericEquals", "-0.0", "0"),
            ("NumericEquals", "1e3", "1e3"),
            ("NumericEqualsIfExists", "10", "10"),
            ("DateGreaterThan", "2026-01-02", "2026-01-02T00:00:00Z"),
            (
                "DateGreaterThan",
                "2026-01-02T01:00:00+01:00",
                "2026-01-02T00:00:00Z",
            ),
            ("DateGreaterThan", "1767312000", "2026-01-02T00:00:00Z"),
            ("DateGreaterThan", "tomorrow", "tomorrow"),
        ] {
            assert_eq!(
                canonical_value(operator, value.to_owned()),
                form,
                "{operator} {value}"
            );
        }
    }

    #[test]
    fn the_base_of_an_operator_has_no_prefix_and_no_suffix() {
        for (operator, is) in [
            ("StringEquals", "StringEquals"),
            ("forallvalues:StringLikeIFEXISTS", "StringLike"),
            ("ForAnyValue:ArnLike", "ArnLike"),
            ("IfExists", ""),
        ] {
            assert_eq!(base(operator), is);
        }
    }

    #[test]
    fn a_value_that_the_operator_cannot_compare_is_a_problem() {
        for (operator, value, refused) in [
            ("Bool", "TRUE", None),
            ("Bool", "yes", Some(false)),
            ("Null", "1", Some(false)),
            ("IpAddress", "203.0.113.0/24", None),
            ("IpAddress", "2001:db8::/32", None),
            ("IpAddress", "203.0.113.*", Some(false)),
            ("NotIpAddressIfExists", "203.0.113.0/40", Some(false)),
            ("NumericLessThan", "3600", None),
            ("NumericLessThan", "1e3", None),
            ("NumericLessThan", "1h", Some(false)),
            ("DateLessThan", "2026-01-02T03:04:05Z", None),
            ("DateLessThan", "2026-01-02T03:04Z", None),
            ("DateLessThan", "2026-01-02T03:04:05.678+01:00", None),
            ("DateLessThan", "2026-01-02T03:04:05", None),
            ("DateLessThan", "2026-01-02", None),
            ("DateLessThan", "2026-01", None),
            ("DateLessThan", "2026", None),
            ("DateLessThan", "1767312000", None),
            ("DateLessThan", "tomorrow", Some(true)),
            ("DateLessThan", "31.01.2026", Some(true)),
            ("DateLessThan", "2026-13", Some(true)),
            ("DateLessThan", "2026-02-31", Some(true)),
            ("StringEquals", "anything", None),
        ] {
            let found = value_problem(operator, value).map(|problem| problem.refused);
            assert_eq!(found, refused, "{operator} {value}");
        }
    }

    #[test]
    fn an_operator_that_matches_a_missing_key_has_no_matching_base() {
        for (operator, is) in [
            ("StringEquals", Some("StringEquals")),
            ("foranyvalue:ArnLike", Some("ArnLike")),
            ("ForAllValues:StringLike", None),
            ("StringEqualsIfExists", None),
            ("ForAnyValue:StringLikeIfExists", None),
        ] {
            assert_eq!(matching(operator), is);
        }
    }
}
