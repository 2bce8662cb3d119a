//! How AWS is reached: through which proxy, and trusting which certificate authorities.
//!
//! Both come from the environment variables that AWS's own tools read: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in
//! upper or lower case, `AWS_CA_BUNDLE` and `SSL_CERT_FILE`. A value that cannot be used fails every request: falling back to a
//! direct connection, or to other certificate authorities, would send credentials where the administrator does not want them.

use std::fmt;
use std::io::Read as _;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The variable that names a file with certificate authorities, in PEM. They replace the system's.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";
/// A larger file is no list of certificate authorities.
const LARGEST_BUNDLE: u64 = 4 << 20;
/// Variables with the URL of a proxy, by precedence: the first of a pair that is set is used.
const PROXIES: [[&str; 2]; 3] = [
    ["HTTPS_PROXY", "https_proxy"],
    ["HTTP_PROXY", "http_proxy"],
    ["ALL_PROXY", "all_proxy"],
];

/// Why the environment does not allow a connection. It never quotes a proxy's URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NetworkError {}

// The names are a convention of all network tools, and no flags of ours.
#[allow(clippy::disallowed_methods)]
fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Checks the proxy and CA variables, so that a wrong one is reported at the start.
///
/// # Errors
/// Names the variable and what is wrong with it.
pub fn check() -> Result<(), NetworkError> {
    check_proxy()?;
    trust_store().map(|_| ())
}

/// Checks the proxy variables alone, which the client of the API server reads, too.
///
/// # Errors
/// Names the variable and what is wrong with it.
pub fn check_proxy() -> Result<(), NetworkError> {
    check_proxies(environment)
}

/// The HTTP client for all requests to AWS, with rustls on ring: no second TLS stack, and static binaries stay easy.
///
/// It uses the proxy and the certificate authorities of the environment. Where they cannot be used, each request fails with the
/// reason.
pub fn http_client() -> SharedHttpClient {
    let trust = match check_proxies(environment).and_then(|()| trust_store()) {
        Ok(trust) => trust,
        Err(error) => return unusable(error),
    };
    let context = match TlsContext::builder().with_trust_store(trust).build() {
        Ok(context) => context,
        Err(error) => return unusable(NetworkError(format!("TLS cannot be set up: {error}"))),
    };
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(context.clone())
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    })
}

/// Fails every request with one error.
#[derive(Debug)]
struct Unusable(NetworkError);

impl HttpConnector for Unusable {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user(self.0.clone().into())))
    }
}

fn unusable(error: NetworkError) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Unusable(error));
    http_client_fn(move |_, _| connector.clone())
}

/// The HTTP client silently ignores a proxy that it cannot use, and connects directly. Such a proxy is an error here.
fn check_proxies(variable: impl Fn(&str) -> Option<String>) -> Result<(), NetworkError> {
    for names in PROXIES {
        let Some((name, url)) = names.iter().find_map(|name| Some((*name, variable(name)?))) else {
            continue;
        };
        if url.is_empty() {
            continue;
        }
        let Ok(parsed) = url.parse::<http::Uri>() else {
            return Err(NetworkError(format!(
                "{name} is not the URL of a proxy: write it as http://HOST:PORT"
            )));
        };
        let usable = matches!(parsed.scheme_str(), None | Some("http" | "https"));
        if !usable
            || parsed
                .authority()
                .is_none_or(|authority| authority.host().is_empty())
        {
            return Err(NetworkError(format!(
                "{name} names a proxy that cannot be used: write it as http://HOST:PORT or https://HOST:PORT (SOCKS is not supported)"
            )));
        }
    }
    Ok(())
}

/// The certificate authorities of `AWS_CA_BUNDLE`, else those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace these).
fn trust_store() -> Result<TrustStore, NetworkError> {
    match environment(CA_BUNDLE).filter(|path| !path.is_empty()) {
        None => Ok(TrustStore::default()),
        Some(path) => {
            let failed = |why: String| NetworkError(format!("{CA_BUNDLE}={path} cannot be used: {why}"));
            let pem = read_bounded(&path).map_err(|error| failed(error.to_string()))?;
            let usable = usable_certificates(&pem);
            if usable.is_empty() {
                return Err(failed("it has no usable PEM certificate".to_owned()));
            }
            // The SDK panics at a certificate that it cannot parse, so it gets only those that can be.
            Ok(usable
                .into_iter()
                .fold(TrustStore::empty(), TrustStore::with_pem_certificate))
        }
    }
}

/// The number of certificates in a file that can be trust anchors, for a report about the environment.
///
/// # Errors
/// When the file cannot be read or is too large.
pub fn usable_in(path: &str) -> std::io::Result<usize> {
    Ok(usable_certificates(&read_bounded(path)?).len())
}

fn read_bounded(path: &str) -> std::io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    std::fs::File::open(path)?
        .take(LARGEST_BUNDLE + 1)
        .read_to_end(&mut pem)?;
    if u64::try_from(pem.len()).unwrap_or(u64::MAX) > LARGEST_BUNDLE {
        return Err(std::io::Error::other("it is larger than 4 MiB"));
    }
    Ok(pem)
}

/// Each certificate of the text that can be a trust anchor, as PEM.
fn usable_certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let mut usable = Vec::new();
    for piece in text.split(BEGIN).skip(1) {
        let Some((body, _)) = piece.split_once(END) else {
            continue;
        };
        let block = format!("{BEGIN}{body}{END}\n").into_bytes();
        let parsed = CertificateDer::from_pem_slice(&block).ok();
        if parsed.is_some_and(|certificate| RootCertStore::empty().add(certificate).is_ok()) {
            usable.push(block);
        }
    }
    usable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(name: &str, value: &str) -> Result<(), NetworkError> {
        check_proxies(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_not_a_direct_connection() {
        for name in PROXIES.as_flattened() {
            for good in [
                "",
                "http://proxy:3128",
                "proxy:3128",
                "https://u:p@proxy.example:8443/",
                "http://[::1]:1",
            ] {
                assert_eq!(check_with(name, good), Ok(()), "{name}={good}");
            }
            for bad in [
                "socks5://proxy:1080",
                "http://",
                "http:// proxy",
                "ftp://proxy",
                "/proxy",
                "http://u:pass word@proxy",
            ] {
                assert!(check_with(name, bad).is_err(), "{name}={bad}");
            }
        }
    }

    #[test]
    fn a_wrong_proxy_is_named_without_its_password() {
        for url in [
            "socks5://user:canary@proxy:1080",
            "http://user:canary@prox y",
            "user:canary@:",
        ] {
            let error = check_with("https_proxy", url).unwrap_err().to_string();
            assert!(
                error.contains("https_proxy") && !error.contains("canary"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_first_variable_of_a_pair_decides() {
        let both = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://good:1".to_owned()),
            "https_proxy" => Some("socks5://bad:1".to_owned()),
            _ => None,
        };
        assert_eq!(check_proxies(both), Ok(()));
    }

    #[test]
    fn a_bundle_is_read_certificate_by_certificate_whatever_else_it_has() {
        let text = b"# comment\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nnever ends";
        assert!(usable_certificates(text).is_empty());
        assert!(usable_certificates(&[0xff; 100]).is_empty());
    }

    #[tokio::test]
    async fn a_request_without_a_usable_network_fails_with_the_reason() {
        let client = unusable(NetworkError("HTTPS_PROXY is wrong".to_owned()));
        let base = crate::sdk::base_config()
            .await
            .into_builder()
            .http_client(client)
            .build();
        let credentials = aws_credential_types::Credentials::new("AKIATEST", "secret", None, None, "test");
        let sts = crate::sdk::sts_client(&base, credentials, "aws", None).unwrap();
        let error = sts.get_caller_identity().send().await.unwrap_err();
        let failure = crate::error::AwsFailure::new("GetCallerIdentity", &error);
        assert!(failure.to_string().contains("HTTPS_PROXY is wrong"), "{failure}");
    }
}
