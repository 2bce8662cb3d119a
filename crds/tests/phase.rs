//! A status of a newer version.

use rolectl_crds::{MfaSession, Phase};

#[test]
fn the_phase_that_a_newer_version_wrote_is_read_and_written_back_as_it_was() {
    let text = r#"{"apiVersion":"iam.rolectl.dev/v1alpha1","kind":"MfaSession","metadata":{"name":"default"},
        "spec":{"accountId":"111111111111"},"status":{"phase":"Renewing"}}"#;
    let session: MfaSession = serde_json::from_str(text).unwrap();
    let status = session.status.unwrap();
    assert_eq!(status.phase.as_str(), "Renewing");
    assert_eq!(serde_json::to_string(&status).unwrap(), r#"{"phase":"Renewing"}"#);
    for phase in Phase::ALL {
        let text = serde_json::to_string(phase).unwrap();
        assert_eq!(serde_json::from_str::<Phase>(&text).unwrap(), *phase);
    }
}
