//! `rolectl plan`, `apply` and `destroy`: once and without a cluster what the controller does for ever.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use kube::api::ListParams;
use rolectl_tests::scenario::{Scenario, key_env};
use rolectl_tests::tools::root;
use rolectl_tests::wait::until;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// There is no cluster behind it.
const NO_CLUSTER: (&str, &str) = ("KUBECONFIG", "/nowhere");

/// Session, accounts and roles as files, and nothing of them in a cluster.
pub fn write_files(s: &Scenario<'_>, roles: &[Value]) -> Result<String> {
    let mut text = String::new();
    let session = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": "main"}, "spec": {"accountId": s.main}});
    let accounts = s.targets.iter().map(|(name, id)| json!({
        "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": name},
        "spec": {"accountId": id, "sessionRef": "main", "assumeRole": {"name": "rolectl"}, "allowedNamespaces": {"from": "All"},
            "guardrails": {"adoption": "IfUnowned"}}}));
    for object in [session].into_iter().chain(accounts).chain(roles.iter().cloned()) {
        writeln!(text, "---\n{object}")?;
    }
    let dir = s.dir.join("files");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("all.yaml"), text)?;
    Ok(dir.display().to_string())
}

async fn run(s: &Scenario<'_>, args: &[&str]) -> Result<(Output, String)> {
    let output = s.rolectl_as("operator", args, &[NO_CLUSTER]).await?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    s.assert_no_secret("the output", &text)?;
    // Nor what is kept for the next command.
    for file in std::fs::read_dir(s.dir.join(".cache/rolectl/sessions"))
        .into_iter()
        .flatten()
    {
        let kept: BTreeMap<String, ByteString> = serde_json::from_slice(&std::fs::read(file?.path())?)?;
        for key in ["secretAccessKey", "sessionToken"] {
            let secret = kept
                .get(key)
                .map(|ByteString(bytes)| String::from_utf8_lossy(bytes).into_owned());
            ensure!(
                secret.is_some_and(|secret| !text.contains(&secret)),
                "{key} of a kept session is shown"
            );
        }
    }
    Ok((output, text))
}

/// Runs it, and shows that it ends with this code. Returns what it printed, names and numbers of this run left out.
async fn ends(s: &Scenario<'_>, args: &[&str], code: i32) -> Result<String> {
    let (output, text) = run(s, args).await?;
    ensure!(
        output.status.code() == Some(code),
        "wanted {code}, got {:?}: {text}",
        output.status
    );
    let mut told = String::from_utf8(output.stdout)?;
    for (n, (_, id)) in s.targets.iter().enumerate() {
        told = told.replace(id, &format!("<account {n}>"));
    }
    Ok(told.replace(&s.main, "<main>"))
}

/// Roles are done at the same time, so their lines come in any order.
fn in_order(told: &str) -> String {
    let (plan, done) = told.split_once("\nPlan: ").unwrap_or((told, ""));
    let mut lines: Vec<&str> = done.lines().filter(|line| !line.is_empty()).collect();
    let middle = lines.len().saturating_sub(1);
    if let Some(roles) = lines.get_mut(1..middle) {
        roles.sort_unstable();
    }
    format!("{plan}\nPlan: {}\n", lines.join("\n"))
}

#[tokio::test]
async fn one_code_does_the_playbooks_work_without_a_cluster() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "once", 2).await?;
    let reader = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]});
    let app = s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"], "inlinePolicies": {"reader": reader}, "tags": {"team": "a"}}));
    let files = write_files(
        &s,
        &[
            app,
            s.role("admin", json!({"managedPolicies": ["AdministratorAccess"]})),
        ],
    )?;
    let f = ["-f", files.as_str()];

    // One code for all that follows.
    let code = s.operator.code().await?;
    let plan = ends(
        &s,
        &[&["plan", "--mfa", &code, "--detailed-exitcode"][..], &f].concat(),
        2,
    )
    .await?;
    insta::assert_snapshot!("once_plan", plan);
    ensure!(s.owned_roles(0).await?.is_empty(), "a plan writes nothing");
    let done = ends(&s, &[&["apply", "--yes"][..], &f].concat(), 0).await?;
    insta::assert_snapshot!("once_apply", in_order(&done));
    for target in 0..2 {
        ensure!(s.owned_roles(target).await?.len() == 2);
        ensure!(s.attached(target, "admin").await?.len() == 1);
    }
    let again = ends(&s, &[&["apply", "--yes"][..], &f].concat(), 0).await?;
    ensure!(
        again == "Plan: 0 to create, 0 to change, 0 to delete, 4 unchanged.\n",
        "{again}"
    );

    // Somebody changes a role by hand.
    let iam = s.hands(1).await?;
    let open = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"}]});
    iam.put_role_policy()
        .role_name("app")
        .policy_name("reader")
        .policy_document(open.to_string())
        .send()
        .await?;
    iam.detach_role_policy()
        .role_name("app")
        .policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess")
        .send()
        .await?;
    let drift = ends(&s, &[&["plan", "--detailed-exitcode"][..], &f].concat(), 2).await?;
    insta::assert_snapshot!("once_drift", drift);
    let json = ends(
        &s,
        &[&["plan", "-o", "json", "--account", "once-1"][..], &f].concat(),
        0,
    )
    .await?;
    let parsed: Value = serde_json::from_str(&json)?;
    ensure!(
        parsed["summary"]["change"] == 1 && parsed["accounts"][0]["roles"][1]["action"] == "change",
        "{json}"
    );
    ends(&s, &[&["apply", "--yes"][..], &f].concat(), 0).await?;
    ensure!(s.attached(1, "app").await?.len() == 1);

    let gone = ends(&s, &[&["destroy", "--yes"][..], &f].concat(), 0).await?;
    insta::assert_snapshot!("once_destroy", in_order(&gone));
    for target in 0..2 {
        ensure!(s.owned_roles(target).await?.is_empty(), "a role was left");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_ours_or_not_allowed_is_refused_and_all_else_is_done() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "once-refused", 1).await?;
    let iam = s.hands(0).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]});
    iam.create_role()
        .role_name("theirs")
        .assume_role_policy_document(trust.to_string())
        .send()
        .await?;
    let typo = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]});
    let files = write_files(
        &s,
        &[
            s.role("theirs", json!({})),
            s.role("open", json!({"assumeRolePolicy": typo})),
            s.role("shown", json!({"drift": "Report"})),
            s.role("right", json!({})),
        ],
    )?;
    let code = s.operator.code().await?;
    let told = ends(&s, &["apply", "--yes", "-f", &files, "--mfa", &code], 1).await?;
    insta::assert_snapshot!("once_refused", told);
    ensure!(s.owned_roles(0).await? == ["right"]);
    let theirs = s.in_aws(0, "theirs").await?;
    ensure!(
        theirs.is_some_and(|role| role.tags().is_empty()),
        "it was touched"
    );
    // Nothing is asked where nobody can answer.
    let (output, text) = run(&s, &["destroy", "-f", &files]).await?;
    ensure!(
        output.status.code() == Some(2) && text.contains("run it with --yes"),
        "{text}"
    );
    ensure!(s.owned_roles(0).await? == ["right"]);
    Ok(())
}

#[tokio::test]
async fn a_code_opens_one_roles_own_session_and_a_used_one_opens_nothing() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "once-role", 2).await?;
    let files = write_files(&s, &[s.role("app", json!({}))])?;
    let arn = format!("arn:aws:iam::{}:role/rolectl", s.targets[0].1);
    let code = s.operator.code().await?;
    let told = ends(
        &s,
        &[
            "apply",
            "--yes",
            "-f",
            &files,
            "--mfa",
            &code,
            "--assume-role",
            &arn,
        ],
        0,
    )
    .await?;
    ensure!(told.contains("1 to create"), "{told}");
    ensure!(s.owned_roles(0).await? == ["app"] && s.owned_roles(1).await?.is_empty());
    // The session of that role is kept; another one needs another code.
    let (output, text) = run(&s, &["plan", "-f", &files, "--mfa", &code]).await?;
    ensure!(
        output.status.code() == Some(1) && text.contains("already used"),
        "{text}"
    );
    let kept = std::fs::read_dir(s.dir.join(".cache/rolectl/sessions"))?;
    for file in kept {
        use std::os::unix::fs::PermissionsExt as _;
        ensure!(
            file?.metadata()?.permissions().mode() & 0o777 == 0o600,
            "others can read a session"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_of_the_cluster_shows_what_the_controller_would_do_and_reads_the_session_only_where_it_may()
-> Result<()> {
    let s = Scenario::new(crate::world().await?, "once-cluster", 1).await?;
    let role = s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]}));
    let file = s.dir.join("role.yaml");
    std::fs::write(&file, role.to_string())?;
    let file = file.display().to_string();
    let args = [
        "plan",
        "-f",
        &file,
        "--account",
        "once-cluster-0",
        "--detailed-exitcode",
    ];
    s.unlock().await?;
    until("the API server to serve the kind", || async {
        s.roles()
            .list(&ListParams::default())
            .await
            .map_err(|e| e.to_string())
    })
    .await?;
    // An operator may write the session and not read it: on another machine than the one that unlocked, a code is needed.
    let elsewhere = s.dir.join("elsewhere").display().to_string();
    let env = [("ROLECTL_CLUSTER_NAME", "test"), ("XDG_CACHE_HOME", &elsewhere)];
    let output = s.rolectl_as("operator", &args, &env).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    // 1, since 2 would say that there are changes.
    ensure!(
        output.status.code() == Some(1) && error.contains("no MFA code was given"),
        "{error}"
    );
    let not_yet_named = [&args[..], &["--cluster-name", "test"]].concat();
    let output = s.rolectl_as("admin", &not_yet_named, &[]).await?;
    let told = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.code() == Some(2) && told.contains("+ role once-cluster/app will be created"),
        "{told}"
    );
    s.apply(&role).await?;
    s.start_controller()?;
    s.role_is("app", "True", "InSync").await?;
    let output = s.rolectl_as("admin", &args, &[]).await?;
    ensure!(
        output.status.code() == Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

#[tokio::test]
async fn an_account_that_was_bootstrapped_lets_rolectl_do_all_its_work_with_the_least_rights() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "bootstrap", 1).await?;
    let root = s.world.double.root(&s.targets[0].1).await?;
    let admin = key_env(&root);
    let args = ["bootstrap", "--main-account", &s.main, "--role-name", "keeper"];
    let printed = ends(&s, &args, 0).await?;
    insta::assert_snapshot!("bootstrap", printed);
    let user = format!("arn:aws:iam::{}:user/operator", s.main);
    let bounded = [
        "bootstrap",
        "--user-arn",
        &user,
        "--role-path",
        "/apps/",
        "--boundary",
        "arn:aws:iam::aws:policy/PowerUserAccess",
    ];
    for form in ["terraform", "aws"] {
        let printed = ends(&s, &[&bounded[..], &["-o", form]].concat(), 0).await?;
        insta::assert_snapshot!(format!("bootstrap_{form}"), printed);
    }
    let apply = [&args[..], &["--apply", "--yes"]].concat();
    let output = s.rolectl_as("operator", &apply, &admin).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let again = s.rolectl_as("operator", &apply, &admin).await?;
    ensure!(
        again.status.success() && String::from_utf8_lossy(&again.stdout).contains("is as needed"),
        "it was made again"
    );

    let full = |policies: &[&str]| {
        json!({
        "path": "/team/", "description": "d", "managedPolicies": policies, "permissionsBoundary": "PowerUserAccess",
        "inlinePolicies": {"in": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}},
        "instanceProfile": {}, "tags": {"a": "b"}})
    };
    let keeper = |roles: &[Value]| -> Result<String> {
        let files = write_files(&s, roles)?;
        let all = format!("{files}/all.yaml");
        let text = std::fs::read_to_string(&all)?;
        std::fs::write(
            &all,
            text.replace(
                "\"assumeRole\":{\"name\":\"rolectl\"}",
                "\"assumeRole\":{\"name\":\"keeper\"}",
            ),
        )?;
        Ok(files)
    };
    let files = keeper(&[s.role("app", full(&["ReadOnlyAccess"]))])?;
    let code = s.operator.code().await?;
    ends(&s, &["apply", "--yes", "-f", &files, "--mfa", &code], 0).await?;
    let mut changed = full(&["ViewOnlyAccess"]);
    changed["tags"] = json!({"c": "d"});
    changed["description"] = json!("e");
    changed["maxSessionDuration"] = json!(7200);
    changed["exclusive"] = json!({"boundary": true});
    for gone in ["permissionsBoundary", "inlinePolicies", "instanceProfile"] {
        changed.as_object_mut().and_then(|spec| spec.remove(gone));
    }
    changed["assumeRolePolicy"] = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]});
    keeper(&[s.role("app", changed)])?;
    ends(&s, &["apply", "--yes", "-f", &files], 0).await?;
    keeper(&[s.role("app", full(&[]))])?;
    ends(&s, &["destroy", "--yes", "-f", &files], 0).await?;
    ensure!(s.owned_roles(0).await?.is_empty(), "a role was left");
    Ok(())
}

#[tokio::test]
async fn roles_that_exist_are_imported_and_taken_over_without_any_other_change() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "import", 1).await?;
    let iam = s.hands(0).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["ec2.amazonaws.com"]}}});
    iam.create_role()
        .path("/aws-service-role/ec2.amazonaws.com/")
        .role_name("AWSServiceRoleForEC2")
        .assume_role_policy_document(trust.to_string())
        .send()
        .await?;
    for name in ["App_One", "app-two", "other"] {
        iam.create_role()
            .role_name(name)
            .description("by hand")
            .assume_role_policy_document(trust.to_string())
            .send()
            .await?;
        iam.attach_role_policy()
            .role_name(name)
            .policy_arn("arn:aws:iam::aws:policy/job-function/ViewOnlyAccess")
            .send()
            .await?;
    }
    let files = write_files(&s, &[])?;
    let code = s.operator.code().await?;
    let args = [
        "import",
        "--account",
        "import-0",
        "--name",
        "[Aa]pp*",
        "--into",
        "import",
        "-f",
        &files,
        "--mfa",
        &code,
    ];
    let nothing = ends(&s, &args, 0).await?;
    ensure!(nothing.is_empty(), "only * has a meaning: {nothing}");
    let args = [
        "import",
        "--account",
        "import-0",
        "--into",
        "import",
        "-f",
        &files,
    ];
    let (_, all) = run(&s, &args).await?;
    ensure!(
        all.contains("left out: AWSServiceRoleForEC2 in import-0: "),
        "a role of AWS's own is passed over in silence: {all}"
    );
    let printed = ends(&s, &args, 0).await?;
    ensure!(!printed.contains("AWSServiceRole"), "{printed}");
    insta::assert_snapshot!("import", printed);
    let roles = s.dir.join("imported.yaml").display().to_string();
    std::fs::write(&roles, &printed)?;
    let f = ["-f", &files, "-f", &roles];
    let plan = ends(&s, &[&["plan", "--detailed-exitcode"][..], &f].concat(), 2).await?;
    let changes = plan
        .lines()
        .filter(|line| line.starts_with("      "))
        .collect::<Vec<_>>();
    ensure!(
        changes.len() == 3
            && changes.iter().all(|line| line
                .contains("+ tags iam.rolectl.dev/adopted=true, iam.rolectl.dev/owner=files/import/")),
        "{plan}"
    );
    ends(&s, &[&["apply", "--yes"][..], &f].concat(), 0).await?;
    ends(&s, &[&["plan", "--detailed-exitcode"][..], &f].concat(), 0).await?;

    // What is managed is not imported again; each role has a file of its own.
    let folder = s.dir.join("imported").display().to_string();
    let again = [&args[..], &["--out-dir", &folder]].concat();
    let (_, told) = run(&s, &again).await?;
    ensure!(
        told.contains("app-two in import-0: IamRole files/import/app-two manages it")
            && told.contains(", 3 managed by rolectl already"),
        "{told}"
    );
    let root = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": s.main}}]});
    iam.create_role()
        .role_name("late")
        .assume_role_policy_document(root.to_string())
        .send()
        .await?;
    ends(&s, &again, 0).await?;
    let written = std::fs::read_to_string(s.dir.join("imported/late.yaml"))?;
    ensure!(
        written.contains(&format!("AWS: arn:aws:iam::{}:root", s.main)),
        "{written}"
    );
    // A file that is there may have been edited.
    let (_, told) = run(&s, &again).await?;
    ensure!(
        told.contains("could not write") && told.contains("late.yaml"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn a_destroy_tells_what_is_absent_and_what_is_not_ours() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "destroy", 1).await?;
    let files = write_files(&s, &[s.role("absent", json!({})), s.role("theirs", json!({}))])?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": s.main}}]});
    s.hands(0)
        .await?
        .create_role()
        .role_name("theirs")
        .assume_role_policy_document(trust.to_string())
        .send()
        .await?;
    let code = s.operator.code().await?;
    let told = ends(&s, &["destroy", "-f", &files, "--mfa", &code], 0).await?;
    insta::assert_snapshot!(told);
    Ok(())
}

#[tokio::test]
async fn the_files_and_commands_of_from_ansible_work_as_they_stand() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "from-ansible", 1).await?;
    let page = std::fs::read_to_string(root().join("docs/from-ansible.md"))?;
    let iam = s.dir.join("iam");
    std::fs::create_dir_all(&iam)?;
    let blocks = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let mut count = 0;
    for block in blocks {
        let name = block
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# iam/"))
            .unwrap_or_default();
        let text = block
            .replace("111111111111", &s.main)
            .replace("222222222222", &s.targets[0].1);
        std::fs::write(iam.join(name), text)?;
        count += 1;
    }
    ensure!(count == 2, "{count} blocks");
    for command in ["rolectl plan iam/ --mfa 123456", "rolectl apply iam/"] {
        ensure!(
            page.contains(&format!("$ {command} ")),
            "{command} is not on the page"
        );
    }
    let (files, code) = (iam.display().to_string(), s.operator.code().await?);
    ends(&s, &["plan", "-f", &files, "--mfa", &code], 0).await?;
    ends(&s, &["apply", "-f", &files, "--yes"], 0).await?;
    ensure!(s.owned_roles(0).await? == ["app"]);

    // The move to a cluster, which says "platform" and not the test's namespace.
    ensure!(page.contains("(`ROLECTL_CLUSTER_NAME=files`)"));
    let id = s.in_aws(0, "app").await?.and_then(|role| role.role_id);
    let moved = json!({"accounts": {"names": ["from-ansible-0"]}, "managedPolicies": ["ViewOnlyAccess"]});
    let mut role = s.role("app", moved);
    role["metadata"]["namespace"] = json!("platform");
    s.world
        .plane
        .kubectl(&["create", "namespace", "platform"])
        .await?;
    let before = s.calls(0, 0).await?.by_action().get("CreateRole").copied();
    s.apply(&role).await?;
    s.change_account(0, json!({"allowedNamespaces": {"names": ["platform"]}}))
        .await?;
    s.start_controller_with(&[
        ("ROLECTL_CLUSTER_NAME", "files"),
        ("ROLECTL_WATCH_NAMESPACE", "platform"),
    ])?;
    s.unlock().await?;
    until("the controller to keep the role that the files made", || async {
        let attached = s.attached(0, "app").await.map_err(|e| e.to_string())?;
        let done = attached.iter().any(|arn| arn.ends_with("ViewOnlyAccess"));
        if done {
            Ok(())
        } else {
            Err(format!("{attached:?}"))
        }
    })
    .await?;
    ensure!(s.in_aws(0, "app").await?.and_then(|role| role.role_id) == id);
    ensure!(s.calls(0, 0).await?.by_action().get("CreateRole").copied() == before);
    Ok(())
}

/// Forty roles that `apply` makes with one MFA code, whose second call takes some time.
async fn forty_slow_roles(s: &Scenario<'_>) -> Result<String> {
    let policies = json!({"managedPolicies": ["ReadOnlyAccess", "ViewOnlyAccess"]});
    let roles: Vec<Value> = (0..40)
        .map(|n| s.role(&format!("r{n}"), policies.clone()))
        .collect();
    let files = write_files(s, &roles)?;
    let code = s.operator.code().await?;
    ends(s, &["plan", "-f", &files, "--mfa", &code], 0).await?;
    let slow = json!([{"action": "AttachRolePolicy", "latency_ms": 500}]);
    s.world.double.faults(&s.targets[0].1, slow).await?;
    Ok(files)
}

/// Presses Ctrl-C in the middle of `apply`, again each time that it is told so.
async fn interrupted(s: &Scenario<'_>, files: &str, times: usize) -> Result<()> {
    let mut running = s.rolectl_begun("operator", &["apply", "--yes", "-f", files], &[NO_CLUSTER])?;
    let pid = running.id().context("it has ended already")?.to_string();
    let mut told = BufReader::new(running.stderr.take().context("no stderr")?).lines();
    // One is made before any test: the role that is assumed.
    s.begun(3).await?;
    for _ in 0..times {
        let pressed = tokio::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .await?;
        ensure!(pressed.success());
        while told
            .next_line()
            .await?
            .is_some_and(|line| !line.starts_with("interrupted: "))
        {}
    }
    let output = running.wait_with_output().await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.code() == Some(130) && told.contains("Interrupted: run the command again to continue."),
        "{:?}: {told}",
        output.status
    );
    Ok(())
}

#[tokio::test]
async fn interrupted_it_finishes_the_roles_under_way_begins_no_other_and_goes_on_when_repeated() -> Result<()>
{
    let s = Scenario::new(crate::world().await?, "once-interrupted", 1).await?;
    let files = forty_slow_roles(&s).await?;
    interrupted(&s, &files, 1).await?;
    let made = s.owned_roles(0).await?;
    ensure!((1..40).contains(&made.len()), "{} of 40 were begun", made.len());
    for role in &made {
        ensure!(s.attached(0, role).await?.len() == 2, "{role} is half-made");
    }
    let left = format!(
        "{} to create, 0 to change, 0 to delete, {} unchanged",
        40 - made.len(),
        made.len()
    );
    let again = ends(&s, &["apply", "--yes", "-f", &files], 0).await?;
    ensure!(again.contains(&left), "wanted {left}: {again}");
    Ok(())
}

#[tokio::test]
async fn interrupted_twice_it_ends_after_the_calls_under_way_and_the_next_run_makes_the_rest() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "once-twice", 1).await?;
    let files = forty_slow_roles(&s).await?;
    interrupted(&s, &files, 2).await?;
    let mut half_made = 0;
    for role in s.owned_roles(0).await? {
        half_made += usize::from(s.attached(0, &role).await?.len() < 2);
    }
    ensure!(half_made > 0, "it has waited for whole roles");
    let again = ends(&s, &["apply", "--yes", "-f", &files], 0).await?;
    ensure!(
        again.contains(&format!("{half_made} to change")),
        "{half_made} were half-made: {again}"
    );
    for role in s.owned_roles(0).await? {
        ensure!(s.attached(0, &role).await?.len() == 2, "{role} is half-made");
    }
    Ok(())
}

#[tokio::test]
async fn on_a_terminal_a_code_is_asked_for_unseen_and_changes_are_asked_about() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "terminal", 1).await?;
    let files = write_files(&s, &[s.role("app", json!({}))])?;
    let code = s.operator.code().await?;
    let args = ["apply", "-f", &files];
    let asks_code = ("MFA code of", code.as_str());
    let (ended, shown) = s
        .rolectl_on_terminal(
            "operator",
            &args,
            &[NO_CLUSTER],
            &[asks_code, ("Only `yes` does", "no")],
        )
        .await?;
    ensure!(
        ended == Some(1) && shown.contains("Nothing was changed."),
        "{shown}"
    );
    ensure!(!shown.contains(&code), "the code is shown");
    ensure!(s.owned_roles(0).await?.is_empty());
    let (ended, shown) = s
        .rolectl_on_terminal("operator", &args, &[NO_CLUSTER], &[("Only `yes` does", "yes")])
        .await?;
    ensure!(
        ended == Some(0) && shown.contains("\x1b[32m+ role"),
        "no colour: {shown:?}"
    );
    ensure!(s.owned_roles(0).await? == ["app"]);
    let plain = [NO_CLUSTER, ("NO_COLOR", "1")];
    let (_, shown) = s
        .rolectl_on_terminal(
            "operator",
            &["destroy", "-f", &files],
            &plain,
            &[("Only `yes` does", "no")],
        )
        .await?;
    ensure!(
        shown.contains("- role") && !shown.contains("\x1b[3"),
        "colour: {shown:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_used_code_is_waited_out_on_a_terminal() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "used-code", 1).await?;
    let used = s.operator.code().await?;
    s.unlock_with(&used).await?;
    let args = ["unlock", "--session", "used-code"];
    let unlocked = async |codes: &[(&str, &str)]| s.rolectl_on_terminal("operator", &args, &[], codes).await;
    let next = s.operator.code().await?;
    let (ended, shown) = unlocked(&[("MFA code of", &used), ("The next one comes in", &next)]).await?;
    ensure!(ended == Some(0) && shown.contains("already used"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_used_code_that_was_given_is_waited_out_on_a_terminal_too() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "given-code", 1).await?;
    let used = s.operator.code().await?;
    s.unlock_with(&used).await?;
    let args = ["unlock", "--session", "given-code", "--mfa", &used];
    let next = s.operator.code().await?;
    let answers = [("MFA code of", next.as_str())];
    let (ended, shown) = s.rolectl_on_terminal("operator", &args, &[], &answers).await?;
    ensure!(
        ended == Some(0) && shown.contains("The next one comes in"),
        "{shown}"
    );
    Ok(())
}

#[tokio::test]
async fn a_kept_session_gives_way_to_a_code_and_is_forgotten_once_aws_refuses_it() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "kept", 1).await?;
    let files = write_files(&s, &[s.role("app", json!({}))])?;
    let plan = ["plan", "-f", &files];
    let first = s.operator.code().await?;
    ends(&s, &[&plan[..], &["--mfa", &first]].concat(), 0).await?;
    ends(&s, &plan, 0).await?;
    // A code that is given is meant, and so is a length.
    let second = s.operator.code().await?;
    let bought = run(
        &s,
        &[&plan[..], &["--mfa", &second, "--duration", "15m"]].concat(),
    )
    .await?
    .1;
    ensure!(
        bought.contains("Session as") && bought.contains("(in 14m)"),
        "{bought}"
    );
    // Somebody revokes all sessions.
    let root = s.world.double.iam(s.world.double.root(&s.main).await?);
    let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": {"DateLessThan": {"aws:TokenIssueTime": "2100-01-01T00:00:00Z"}}}]});
    root.put_user_policy()
        .user_name("operator")
        .policy_name("AWSRevokeOlderSessions")
        .policy_document(deny.to_string())
        .send()
        .await?;
    let (output, told) = run(&s, &plan).await?;
    ensure!(
        output.status.code() == Some(1) && told.contains("refused everywhere and now forgotten"),
        "{told}"
    );
    let (_, told) = run(&s, &plan).await?;
    ensure!(told.contains("no MFA code was given"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_fits_the_files_as_with_kubectl() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "spaced", 1).await?;
    let mut nameless = s.role("nameless", json!({}));
    if let Some(metadata) = nameless["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    let files = write_files(&s, &[nameless.clone()])?;
    let code = s.operator.code().await?;
    let f = ["-f", files.as_str()];
    let told = ends(&s, &[&["plan", "--mfa", &code][..], &f].concat(), 0).await?;
    ensure!(told.contains("role default/nameless"), "{told}");
    let told = ends(&s, &[&["plan", "-n", "team"][..], &f].concat(), 0).await?;
    ensure!(told.contains("role team/nameless"), "{told}");
    write_files(&s, &[nameless, s.role("named", json!({}))])?;
    let (output, told) = run(&s, &[&["plan", "-n", "team"][..], &f].concat()).await?;
    ensure!(
        output.status.code() == Some(2)
            && told.contains("IamRole spaced/named is of another namespace than -n team"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn bootstrap_asks_before_it_makes_a_role() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "bootstrap-asks", 1).await?;
    let root = s.world.double.root(&s.targets[0].1).await?;
    let admin = [&key_env(&root)[..], &[NO_CLUSTER]].concat();
    let args = [
        "bootstrap",
        "--main-account",
        &s.main,
        "--role-name",
        "asked",
        "--apply",
    ];
    let answered = async |answer: &str| {
        s.rolectl_on_terminal(
            "operator",
            &args,
            &admin,
            &[("Make role asked in account", answer)],
        )
        .await
    };
    let (ended, shown) = answered("no").await?;
    ensure!(
        ended == Some(1) && shown.contains("Nothing was changed."),
        "{ended:?} {shown}"
    );
    ensure!(s.in_aws(0, "asked").await?.is_none());
    let (ended, shown) = answered("yes").await?;
    ensure!(
        ended == Some(0) && shown.contains("kind: AwsAccount"),
        "{ended:?} {shown}"
    );
    ensure!(s.in_aws(0, "asked").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn roles_that_are_taken_over_count_against_the_accounts_limit() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "once-room", 1).await?;
    let iam = s.hands(0).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]});
    for name in ["one", "two"] {
        iam.create_role()
            .role_name(name)
            .assume_role_policy_document(trust.to_string())
            .send()
            .await?;
    }
    let taken = |name: &str| s.role(name, json!({"adoption": "IfUnowned", "assumeRolePolicy": trust}));
    let files = write_files(&s, &[taken("one"), taken("two")])?;
    let all = format!("{files}/all.yaml");
    let text = std::fs::read_to_string(&all)?;
    std::fs::write(
        &all,
        text.replace(
            "\"guardrails\":{\"adoption\"",
            "\"guardrails\":{\"maxRoles\":1,\"adoption\"",
        ),
    )?;
    let code = s.operator.code().await?;
    let told = ends(&s, &["apply", "--yes", "-f", &files, "--mfa", &code], 1).await?;
    ensure!(
        told.contains("guardrails.maxRoles") && told.ends_with("Done: 1 of 2.\n"),
        "{told}"
    );
    ensure!(s.owned_roles(0).await?.len() == 1);
    Ok(())
}
