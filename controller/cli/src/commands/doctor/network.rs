//! Checks the variables of the network: proxies, certificate authorities and another endpoint of AWS.

use rolectl_aws::network;

use super::check::Check;

/// Returns the value of a variable that is set and not empty.
// The names are a convention of all network and AWS tools, and no flags of ours.
#[allow(clippy::disallowed_methods)]
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    Some(value).filter(|value| !value.is_empty())
}

pub fn checks() -> Vec<Check> {
    let mut all = vec![proxy(variable)];
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        all.extend(variable(name).map(|path| bundle(name, &path)));
    }
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM"] {
        all.extend(variable(name).map(|url| endpoint(name, &url)));
    }
    all
}

/// Returns the host and port of a URL, without a user name and a password.
fn host(url: &str) -> String {
    let authority = url
        .parse::<http::Uri>()
        .ok()
        .and_then(|uri| uri.into_parts().authority);
    match authority {
        Some(authority) => match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        },
        None => "a URL that cannot be read".to_owned(),
    }
}

fn proxy(variable: impl Fn(&str) -> Option<String>) -> Check {
    const NAME: &str = "proxy";
    if let Err(error) = network::check_proxy() {
        return Check::failed(NAME, error.to_string(), "correct the variable or unset it");
    }
    let either = |upper: &'static str, lower: &'static str| {
        [upper, lower]
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)))
    };
    let named = either("HTTPS_PROXY", "https_proxy").or_else(|| either("ALL_PROXY", "all_proxy"));
    let Some((name, url)) = named else {
        return Check::ok(NAME, "none");
    };
    let except = either("NO_PROXY", "no_proxy");
    let except = except.map_or_else(String::new, |(name, hosts)| format!(", except {hosts} ({name})"));
    Check::ok(NAME, format!("{} ({name}){except}", host(&url)))
}

fn bundle(name: &'static str, path: &str) -> Check {
    const NAME: &str = "certificate-authorities";
    match network::usable_in(path) {
        Ok(0) => Check::failed(
            NAME,
            format!("{name}={path} has no usable PEM certificate"),
            format!("name a file with certificates, or unset {name}"),
        ),
        Ok(count) => Check::ok(NAME, format!("{count} in {path} ({name})")),
        Err(error) => Check::failed(
            NAME,
            format!("{name}={path} cannot be read: {error}"),
            format!("name a file that you may read, or unset {name}"),
        ),
    }
}

fn endpoint(name: &'static str, url: &str) -> Check {
    Check::warning(
        "aws-endpoint",
        format!("{name} sends requests to {} in place of AWS", host(url)),
        format!("unset {name}, unless it names a VPC endpoint or a test of yours"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::check::Outcome;
    use super::*;

    #[test]
    fn the_password_of_a_proxy_or_an_endpoint_is_not_shown() {
        let url = "http://user:canary@proxy:3128";
        let check = proxy(|name| match name {
            "https_proxy" => Some(url.to_owned()),
            "NO_PROXY" => Some(".local".to_owned()),
            _ => None,
        });
        assert_eq!(
            check.message,
            "proxy:3128 (https_proxy), except .local (NO_PROXY)"
        );
        let check = endpoint("AWS_ENDPOINT_URL", url);
        assert_eq!(
            check.message,
            "AWS_ENDPOINT_URL sends requests to proxy:3128 in place of AWS"
        );
        assert!(!endpoint("X", "user:canary@ x").message.contains("canary"));
    }

    #[test]
    fn a_bundle_without_certificates_or_without_a_file_is_a_failure() {
        for path in ["/etc/hostname", "/nonexistent"] {
            assert_eq!(bundle("SSL_CERT_FILE", path).result, Outcome::Failed, "{path}");
        }
    }
}
