//! `get`, `describe`, `diff` and `status` take what users of kubectl type, and show what the user may read.

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

/// Runs `rolectl` as a user with this code expected. Returns stdout and stderr.
async fn ends(s: &Scenario<'_>, user: &str, args: &[&str], code: i32) -> Result<(String, String)> {
    let output = s.rolectl_as(user, args, &[]).await?;
    let shown = String::from_utf8(output.stdout)?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(code),
        "{args:?}: wanted {code}, got {:?}: {shown}{told}",
        output.status
    );
    s.assert_no_secret("output", &format!("{shown}{told}"))?;
    Ok((shown, told))
}

#[tokio::test]
async fn get_takes_the_flags_of_kubectl() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "listing", 2).await?;
    let first = json!({"names": [s.targets[0].0]});
    let mut labelled = s.role("app", json!({"accounts": first}));
    labelled["metadata"]["labels"] = json!({"team": "data"});
    s.apply(&labelled).await?;
    s.apply(&s.role("web", json!({}))).await?;
    s.apply(&s.role(
        "typo",
        json!({"accounts": first, "managedPolicies": ["ReadOnlyAcess"]}),
    ))
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    s.role_is("web", "True", "InSync").await?;
    s.role_is("typo", "False", "InvalidSpec").await?;
    s.account_is(0, "InSync").await?;
    let names = async |args: &[&str]| -> Result<String> {
        let args = [
            &["get", "roles", "-n", "listing", "-o", "jsonpath={.items[*].name}"],
            args,
        ]
        .concat();
        Ok(ends(&s, "operator", &args, 0).await?.0)
    };
    for (args, wanted) in [
        (&[][..], "app typo web web"),
        (&["-l", "team=data"], "app"),
        (&["-l", "team!=data"], "typo web web"),
        (&["--state", "InSync,Drifted"], "app web web"),
        (&["--state", "!insync"], "typo"),
        (&["--account", &s.targets[1].0], "web"),
        (&["--sort-by", "{.state}"], "app web web typo"),
        (&["web"], "web web"),
    ] {
        let found = names(args).await?;
        ensure!(found == wanted, "{args:?}: {found}");
    }
    let table = |args: &'static [&'static str]| {
        let s = &s;
        async move { ends(s, "operator", &[args, &["-n", "listing"]].concat(), 0).await }
    };
    let (shown, _) = table(&["get", "role", "app", "--no-headers"]).await?;
    ensure!(shown == "listing/app  listing-0  InSync\n", "{shown:?}");
    let (shown, _) = table(&["get", "roles", "-o", "name"]).await?;
    let resources = ["app", "typo", "web"].map(|name| format!("iamrole.iam.rolectl.dev/{name}\n"));
    ensure!(shown == resources.concat(), "{shown:?}");
    let (shown, _) = table(&["get", "role", "app", "-o", "wide"]).await?;
    ensure!(
        shown.starts_with("ROLE         ACCOUNT    STATE   ACCOUNT ID    ARN")
            && shown.contains(&format!("arn:aws:iam::{}:role/app", s.targets[0].1)),
        "{shown}"
    );
    let (shown, told) = table(&["get", "roles", "-l", "team=none"]).await?;
    ensure!(
        shown.is_empty() && told == "There is no such IamRole.\n",
        "{shown}{told}"
    );

    let (shown, _) = ends(&s, "operator", &["get", "accounts", "listing-0", "-o", "json"], 0).await?;
    let accounts: Value = serde_json::from_str(&shown)?;
    ensure!(
        accounts["kind"] == "AccountList"
            && accounts["items"][0]["accountId"] == s.targets[0].1.as_str()
            && accounts["items"][0]["reason"] == "InSync",
        "{accounts}"
    );
    let (shown, _) = ends(&s, "operator", &["get", "session", "listing"], 0).await?;
    ensure!(
        shown.starts_with("NAME     PHASE     EXPIRES") && shown.contains("listing  Unlocked  in 11h"),
        "{shown}"
    );
    let (shown, _) = ends(&s, "operator", &["status", "--short"], 0).await?;
    ensure!(shown.contains("listing 11h59m"), "{shown}");
    let (shown, _) = ends(&s, "operator", &["describe", "account/listing-0"], 0).await?;
    ensure!(
        shown.contains("IamRoles that name the account: 3, not in sync: 1")
            && shown.contains("listing/typo InvalidSpec"),
        "{shown}"
    );
    let (shown, _) = ends(&s, "operator", &["describe", "session", "listing"], 0).await?;
    ensure!(
        shown.contains("Phase        Unlocked") && shown.contains("Accounts     listing-0, listing-1"),
        "{shown}"
    );
    let (shown, _) = ends(&s, "operator", &["describe", "session/listing", "--utc"], 0).await?;
    ensure!(shown.contains(" UTC (in 11h"), "{shown}");
    for (args, says) in [
        (
            &["get", "roles", "--state", "drift"][..],
            "there is no such state",
        ),
        (
            &["get", "roles", "-n", "listing", "--sort-by", "size"],
            "there is no field size",
        ),
        (
            &["get", "roles", "-o", "go-template=x"],
            "write table, wide, name",
        ),
        (&["get", "orphans", "-l", "a=b"], "selects no orphans"),
        (&["describe", "pod/x"], "names no object"),
        (
            &["describe", "account/listing-0", "--diff"],
            "--diff is for a role",
        ),
    ] {
        let (_, told) = ends(&s, "operator", args, 2).await?;
        ensure!(told.contains(says), "{args:?}: {told}");
    }
    for (args, says) in [
        (
            &["get", "account", "no-such"][..],
            "there is no AwsAccount no-such",
        ),
        (&["get", "session", "no-such"], "there is no MfaSession no-such"),
        (&["describe", "account/no-such"], "rolectl get accounts"),
    ] {
        let (_, told) = ends(&s, "operator", args, 1).await?;
        ensure!(told.contains(says), "{args:?}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn diff_ends_as_kubectl_diff_does() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "diff", 1).await?;
    s.apply(&s.role(
        "app",
        json!({"managedPolicies": ["ReadOnlyAccess"], "drift": "Report"}),
    ))
    .await?;
    s.unlock().await?;
    let diff = ["diff", "role/app", "-n", "diff", "--cluster-name", "test"];
    let (shown, _) = ends(&s, "operator", &diff, 1).await?;
    ensure!(shown.contains("Plan: "), "{shown}");
    let (_, told) = ends(&s, "operator", &["diff", "role/absent", "-n", "diff"], 2).await?;
    ensure!(
        told.contains("there is no IamRole absent in namespace diff"),
        "{told}"
    );
    ends(&s, "operator", &["diff", "account/diff-0"], 2).await?;

    s.roles()
        .patch(
            "app",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(json!({"spec": {"drift": "Correct"}})),
        )
        .await?;
    s.start_controller()?;
    s.role_is("app", "True", "InSync").await?;
    let (shown, _) = ends(&s, "operator", &diff, 0).await?;
    ensure!(shown.contains("1 unchanged"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_watch_prints_what_has_changed() -> Result<()> {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let s = Scenario::new(crate::world().await?, "watching", 1).await?;
    s.apply(&s.role("app", json!({}))).await?;
    let args = ["get", "roles", "-n", "watching", "-w"];
    let mut watch = s.rolectl_begun("operator", &args, &[])?;
    let mut lines = BufReader::new(watch.stdout.take().context("no output")?).lines();
    let mut next = async || -> Result<String> {
        let line = tokio::time::timeout(rolectl_tests::wait::PATIENCE, lines.next_line()).await??;
        line.context("the watch has ended")
    };
    ensure!(next().await?.starts_with("ROLE"));
    ensure!(next().await?.contains("the controller has not looked yet"));
    s.start_controller()?;
    s.unlock().await?;
    loop {
        let line = next().await?;
        ensure!(!line.starts_with("ROLE"), "one line of headers: {line}");
        if line.contains("InSync") {
            break;
        }
    }
    watch.kill().await?;
    Ok(())
}

#[tokio::test]
async fn a_user_who_may_only_read_iamroles_sees_them_and_learns_what_to_ask_for() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "viewer", 1).await?;
    s.apply(&s.role("app", json!({}))).await?;
    let bind = |kind: &str, namespace: Option<&str>, user: &str| {
        let mut binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "rolectl-view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
        if let Some(namespace) = namespace {
            binding["metadata"]["namespace"] = namespace.into();
        }
        binding
    };
    let plane = &s.world.plane;
    for user in ["views-all", "views-one", "views-none"] {
        plane.impersonate(user, user, &["system:authenticated"])?;
    }
    plane
        .apply(&bind("ClusterRoleBinding", None, "views-all").to_string())
        .await?;
    plane
        .apply(&bind("RoleBinding", Some("viewer"), "views-one").to_string())
        .await?;
    until("the rights", || async {
        let all = ends(&s, "views-all", &["get", "roles"], 0).await;
        let one = ends(&s, "views-one", &["get", "roles", "-n", "viewer"], 0).await;
        all.and(one).map_err(|e| e.to_string())
    })
    .await?;
    let (shown, _) = ends(&s, "views-all", &["status"], 0).await?;
    ensure!(
        shown.contains("viewer/app")
            && shown.contains("Not shown: the cluster does not let you list MfaSessions")
            && shown.contains(
                "ask for the ClusterRole rolectl-operator, which reads AwsAccounts and MfaSessions"
            ),
        "{shown}"
    );
    let (shown, _) = ends(&s, "views-one", &["status", "-n", "viewer"], 0).await?;
    ensure!(shown.contains("viewer/app"), "{shown}");
    // The context has no namespace, so that `default` is the only one to try.
    let (_, told) = ends(&s, "views-one", &["get", "roles"], 1).await?;
    ensure!(
        told.contains("ask for the ClusterRole rolectl-view, which reads IamRoles"),
        "{told}"
    );
    // Nobody is sent to ask for the right to unlock production.
    let (_, told) = ends(&s, "views-none", &["status", "-n", "viewer"], 1).await?;
    ensure!(
        !told.contains("rolectl-unlock") && told.contains("does not let you"),
        "{told}"
    );
    Ok(())
}
