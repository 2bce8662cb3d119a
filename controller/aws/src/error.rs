//! Every failure of an AWS call, classed once.

use std::fmt;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::civil;
use jiff::tz::TimeZone;
use rolectl_crds::Reason;

/// What a failure means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Too many calls: slow down, then retry.
    Throttled,
    /// AWS or the network failed: retry.
    Transient,
    /// Another change is under way, or a deletion finds a dependency: retry.
    Conflict,
    /// A trust policy names a principal that AWS does not know (yet): retry for minutes.
    AwaitingPrincipal,
    /// AWS says no: a user must give permission.
    AccessDenied,
    /// A quota is reached.
    Quota,
    /// The request can never succeed as it is.
    Invalid,
    /// What we act on is gone.
    Vanished,
    /// What we create is there.
    Exists,
    /// The credentials have ended or are not known.
    Expired,
    /// The call was not made: the process, the session or the right to make the change ended first.
    NotMade,
}

impl Class {
    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Conflict => "conflict",
            Self::AwaitingPrincipal => "awaiting_principal",
            Self::AccessDenied => "access_denied",
            Self::Quota => "quota",
            Self::Invalid => "invalid",
            Self::Vanished => "vanished",
            Self::Exists => "exists",
            Self::Expired => "expired",
            Self::NotMade => "not_made",
        }
    }
}

/// Error codes of the calls that we make, from their reference pages and from
/// [common errors](https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html).
const CODES: &[(&str, Class)] = &[
    ("Throttling", Class::Throttled),
    ("ThrottlingException", Class::Throttled),
    ("RequestLimitExceeded", Class::Throttled),
    ("TooManyRequestsException", Class::Throttled),
    ("ServiceFailure", Class::Transient),
    ("ServiceFailureException", Class::Transient),
    ("InternalFailure", Class::Transient),
    ("InternalError", Class::Transient),
    ("ServiceUnavailable", Class::Transient),
    ("RequestTimeout", Class::Transient),
    ("RequestTimeTooSkewed", Class::Transient),
    ("RequestExpired", Class::Transient),
    ("RequestInTheFuture", Class::Transient),
    ("ConcurrentModification", Class::Conflict),
    ("ConcurrentModificationException", Class::Conflict),
    ("EntityTemporarilyUnmodifiable", Class::Conflict),
    ("DeleteConflict", Class::Conflict),
    ("AccessDenied", Class::AccessDenied),
    ("AccessDeniedException", Class::AccessDenied),
    ("UnauthorizedOperation", Class::AccessDenied),
    ("SignatureDoesNotMatch", Class::AccessDenied),
    ("InvalidSignatureException", Class::AccessDenied),
    ("OptInRequired", Class::AccessDenied),
    ("RegionDisabledException", Class::AccessDenied),
    ("LimitExceeded", Class::Quota),
    ("LimitExceededException", Class::Quota),
    ("MalformedPolicyDocument", Class::Invalid),
    ("MalformedPolicyDocumentException", Class::Invalid),
    ("PackedPolicyTooLarge", Class::Invalid),
    ("PolicyNotAttachable", Class::Invalid),
    ("PolicyNotAttachableException", Class::Invalid),
    ("InvalidInput", Class::Invalid),
    ("InvalidInputException", Class::Invalid),
    ("ValidationError", Class::Invalid),
    ("UnmodifiableEntity", Class::Invalid),
    ("UnmodifiableEntityException", Class::Invalid),
    ("NoSuchEntity", Class::Vanished),
    ("NoSuchEntityException", Class::Vanished),
    ("EntityAlreadyExists", Class::Exists),
    ("EntityAlreadyExistsException", Class::Exists),
    ("ExpiredToken", Class::Expired),
    ("ExpiredTokenException", Class::Expired),
    ("InvalidClientTokenId", Class::Expired),
    ("UnrecognizedClientException", Class::Expired),
];

/// A failed AWS call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsFailure {
    /// The operation, as AWS names it.
    pub operation: &'static str,
    /// AWS's error code. `None` when no answer came.
    pub code: Option<String>,
    /// AWS's words, or the network's.
    pub message: String,
    /// What it means for us.
    pub class: Class,
}

impl AwsFailure {
    /// Classes what an SDK call returned.
    pub fn new<E, R>(operation: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug,
    {
        let Some(service) = error.as_service_error() else {
            return Self {
                operation,
                code: None,
                message: transport_message(error),
                class: Class::Transient,
            };
        };
        let code = service.code().unwrap_or("Unknown").to_owned();
        let mut message = service
            .message()
            .unwrap_or("AWS gave no message")
            .trim()
            .to_owned();
        let class = classify(&code, &message);
        if is_clock_skew(&code, &message) {
            let advice = clock_advice(&message);
            message = format!("{message}. {advice}");
        }
        Self {
            operation,
            code: Some(code),
            message,
            class,
        }
    }

    /// The failure of a call that was not made.
    pub fn not_made(operation: &'static str, why: &impl fmt::Display) -> Self {
        Self {
            operation,
            code: None,
            message: why.to_string(),
            class: Class::NotMade,
        }
    }

    /// Returns true if AWS answers that something which the call names does not exist.
    pub fn is_missing(&self) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| code.starts_with("NoSuchEntity"))
    }

    /// The reason that a status gives for it.
    pub const fn reason(&self) -> Reason {
        match self.class {
            Class::Throttled => Reason::Throttled,
            Class::Transient => Reason::AwsUnavailable,
            Class::Conflict | Class::Vanished | Class::Exists | Class::NotMade => Reason::Progressing,
            Class::AwaitingPrincipal => Reason::AwaitingPrincipal,
            Class::AccessDenied => Reason::AccessDenied,
            Class::Quota => Reason::QuotaExceeded,
            Class::Invalid => Reason::InvalidSpec,
            Class::Expired => Reason::SessionLocked,
        }
    }
}

/// Returns true if the code is in the table.
pub fn is_classed(code: &str) -> bool {
    CODES.iter().any(|(known, _)| *known == code)
}

/// The class of an error code, with AWS's message where the code alone is ambiguous.
pub fn classify(code: &str, message: &str) -> Class {
    if code.starts_with("MalformedPolicyDocument") && message.contains("Invalid principal") {
        return Class::AwaitingPrincipal;
    }
    // The role is there, what it is to carry is not: a spelling mistake, not a vanished role.
    if code.starts_with("NoSuchEntity")
        && (message.contains("olicy") || message.starts_with("Scope ARN"))
        && !message.contains("role with name")
    {
        return Class::Invalid;
    }
    // The permissions may be right: only the time at which the request was signed is refused.
    if is_clock_skew(code, message) {
        return Class::Transient;
    }
    // What is not in the table may pass; it is retried, with its code shown.
    CODES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or(Class::Transient, |(_, class)| *class)
}

/// Returns true if AWS refused the request because this host's clock differs from AWS's.
/// See [Signature expired](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html).
fn is_clock_skew(code: &str, message: &str) -> bool {
    let of_signature = matches!(code, "SignatureDoesNotMatch" | "InvalidSignatureException");
    matches!(
        code,
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture"
    ) || (of_signature
        && (message.contains("Signature expired") || message.contains("Signature not yet current")))
}

/// Says by how much the clock of this host is wrong, as far as AWS's message tells: `Signature expired: 20140101T000000Z is now
/// earlier than 20140101T000500Z (20140101T002000Z - 15 min.)`, where the first time is the signature's and the one in parentheses
/// is AWS's.
fn clock_advice(message: &str) -> String {
    let time = |text: &str| {
        let text = text.trim_start().get(..16)?;
        let time = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
        time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    let signed = message.split_once(": ").and_then(|(_, rest)| time(rest));
    let aws = message.split_once('(').and_then(|(_, rest)| time(rest));
    let skew = signed.zip(aws).map(|(signed, aws)| signed.duration_since(aws));
    let differs = match skew {
        Some(skew) if skew.is_negative() => format!("is {:#} behind AWS's", skew.abs()),
        Some(skew) => format!("is {skew:#} ahead of AWS's"),
        None => "differs from AWS's by more than 5 minutes".to_owned(),
    };
    format!("The clock of this host {differs}: correct the host's time (NTP)")
}

fn transport_message<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + 'static,
    R: fmt::Debug,
{
    let mut message = match error {
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::DispatchFailure(_) => "AWS could not be reached".to_owned(),
        SdkError::ResponseError(_) => "the answer could not be read".to_owned(),
        _ => "the request could not be made".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    let mut last = None;
    while let Some(cause) = source {
        last = Some(cause.to_string());
        source = cause.source();
    }
    if let Some(last) = last {
        message.push_str(": ");
        message.push_str(&last);
    }
    message
}

impl fmt::Display for AwsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{}: {code}: {}", self.operation, self.message),
            None => write!(f, "{}: {}", self.operation, self.message),
        }
    }
}

impl std::error::Error for AwsFailure {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_code_is_classed_once() {
        let mut codes: Vec<_> = CODES.iter().map(|(code, _)| code).collect();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }

    const EXPIRED: &str = "Signature expired: 20140101T000000Z is now earlier than 20140101T000500Z (20140101T002000Z - 15 min.)";

    #[test]
    fn a_wrong_clock_is_named_with_its_skew() {
        for (message, says) in [
            (EXPIRED, "is 20m behind AWS's"),
            (
                "Signature not yet current: 20140101T001000Z is still later than 20140101T000500Z (20140101T000000Z + 5 min.)",
                "is 10m ahead of AWS's",
            ),
            ("too large", "differs from AWS's"),
            ("Signature expired: é (é", "differs from AWS's"),
            ("Signature expired: 99999999T999999Z (", "differs from AWS's"),
        ] {
            let advice = clock_advice(message);
            assert!(
                advice.contains(says) && advice.contains("clock of this host"),
                "{advice}"
            );
        }
    }

    #[test]
    fn the_message_decides_where_the_code_does_not() {
        for (code, message, class) in [
            (
                "MalformedPolicyDocument",
                "Invalid principal in policy: \"AWS\":\"arn:aws:iam::1:user/x\"",
                Class::AwaitingPrincipal,
            ),
            (
                "MalformedPolicyDocument",
                "Syntax errors in policy.",
                Class::Invalid,
            ),
            (
                "NoSuchEntity",
                "The role with name app cannot be found.",
                Class::Vanished,
            ),
            (
                "NoSuchEntity",
                "Policy arn:aws:iam::aws:policy/Nope does not exist or is not attachable.",
                Class::Invalid,
            ),
            (
                "NoSuchEntity",
                "Scope ARN: arn:aws:iam::1:policy/b does not exist or is not attachable.",
                Class::Invalid,
            ),
            ("BrandNewError", "", Class::Transient),
            ("SignatureDoesNotMatch", EXPIRED, Class::Transient),
            (
                "InvalidSignatureException",
                "Signature not yet current: 20140101T001000Z is still later than 20140101T000500Z (20140101T000000Z + 5 min.)",
                Class::Transient,
            ),
            (
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
                Class::AccessDenied,
            ),
            (
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                Class::Transient,
            ),
        ] {
            assert_eq!(classify(code, message), class, "{code} {message}");
        }
    }

    proptest! {
        #[test]
        fn any_code_and_message_of_aws_is_classed_without_a_panic(code in "[A-Za-z]{0,30}", message in "(Signature expired|: |\\(|\\)|[0-9]{8}T[0-9]{6}Z|policy|role with name|\\PC){0,10}") {
            let codes = CODES.iter().map(|(code, _)| *code);
            for code in codes.chain(["MalformedPolicyDocumentException", "RequestExpired", &code]) {
                let class = classify(code, &message);
                let _ = (clock_advice(&message), class.as_str());
            }
        }
    }
}
