//! Obtains a code from the flags, a command, a YubiKey or the terminal.

use std::fs::File;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};

use super::flags::{self, CodeFlags};
use crate::failure::Failure;
use crate::stdio::eprintln;
use crate::used_code;

impl CodeFlags {
    /// Returns a code that was not used before. Waits for the next code if this one was used, and fails where nobody can enter
    /// another.
    pub(super) async fn fresh_code(&self, serial: &str) -> Result<SecretString, Failure> {
        let on_terminal = std::io::stdin().is_terminal();
        let mut given = self.mfa.is_some();
        loop {
            let text = if given || self.mfa.is_none() {
                self.ask(serial).await?
            } else {
                prompt(serial).await?
            };
            let code = flags::code(&text).map_err(|why| self.no_code(&why))?;
            let Some(ago) = used_code::used_ago(serial, code.expose_secret(), Timestamp::now()) else {
                return Ok(code);
            };
            given = false;
            if self.mfa.is_some() && !on_terminal {
                return Err(Failure::new(
                    format!("this code was already used {ago}s ago, and a code works once"),
                    "wait for the next code (at most 30 seconds) and try again",
                ));
            }
            let left = u64::try_from(30 - Timestamp::now().as_second().rem_euclid(30)).unwrap_or(30);
            eprintln!(
                "This code was already used {ago}s ago, and a code works once. The next one comes in {left}s."
            );
            tokio::time::sleep(Duration::from_secs(left)).await;
        }
    }

    /// Returns the failure for a text that is no code. It names the source, and never the text.
    fn no_code(&self, why: &str) -> Failure {
        let program = self.mfa_process.as_deref().map(program_of);
        let program = program.or_else(|| self.ykman.as_ref().map(|_| "ykman"));
        match program {
            Some(program) => Failure::new(
                format!("{program} printed no code: {why}"),
                "correct the command, so that it prints the code and nothing else, or give the code with --mfa",
            ),
            None => Failure::new(why, "try again with the code that the device shows"),
        }
        .usage()
    }

    /// Returns the text of a code from the source that the flags name, or else from the terminal.
    async fn ask(&self, serial: &str) -> Result<String, Failure> {
        let given = self.mfa.as_ref().map(ExposeSecret::expose_secret);
        Ok(match (given, &self.mfa_process, &self.ykman) {
            (Some("-"), ..) => {
                let mut line = String::new();
                let read = std::io::stdin().lock().read_line(&mut line);
                read.map_err(|e| {
                    Failure::new(
                        format!("could not read the code from stdin: {e}"),
                        "pipe the 6 digits in",
                    )
                })?;
                line
            }
            (Some(code), ..) => code.to_owned(),
            (_, Some(command), _) => output_of(program_of(command), "sh", &["-c", command]).await?,
            (_, _, Some(account)) => {
                let mut args = vec!["oath", "accounts", "code", "--single"];
                args.extend(Some(account.as_str()).filter(|a| !a.is_empty()));
                eprintln!("Touch your YubiKey if it blinks.");
                output_of("ykman", "ykman", &args).await?
            }
            _ if std::io::stdin().is_terminal() => prompt(serial).await?,
            _ => {
                return Err(Failure::new(
                    "no MFA code was given, and there is no terminal to ask on",
                    "give it with --mfa CODE, --mfa - (stdin), --mfa-process or --ykman",
                )
                .usage());
            }
        })
    }
}

/// A terminal with echo off. Dropping it restores the terminal.
struct NoEcho {
    terminal: File,
    before: Termios,
}

impl NoEcho {
    fn new() -> std::io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut settings = before.clone();
        settings.local_modes.remove(LocalModes::ECHO);
        // `Now` keeps what the user typed before the prompt.
        tcsetattr(&terminal, OptionalActions::Now, &settings)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // An error here has no remedy, and a shell restores its terminal itself.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Prompts on the terminal and reads a line without echo. Echo goes off before the prompt appears, so that no typed character
/// shows.
fn read_without_echo(prompt: &str) -> std::io::Result<String> {
    let mut no_echo = NoEcho::new()?;
    write!(no_echo.terminal, "{prompt}")?;
    rpassword::read_password()
}

/// Asks for the code of the device `serial` on the terminal.
async fn prompt(serial: &str) -> Result<String, Failure> {
    let prompt = format!("MFA code of {serial}: ");
    let typed = tokio::task::spawn_blocking(move || read_without_echo(&prompt)).await;
    let failed = |e: String| Failure::new(format!("could not read the code: {e}"), "give it with --mfa");
    typed
        .map_err(|e| failed(e.to_string()))?
        .map_err(|e| failed(e.to_string()))
}

/// Returns the program that a command runs, for messages. Its arguments may be secret, and so may the environment that it is given.
fn program_of(command: &str) -> &str {
    const UNNAMED: &str = "the command of --mfa-process";
    let first = command.split_whitespace().next().unwrap_or(UNNAMED);
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if first.bytes().all(is_name) {
        first
    } else {
        UNNAMED
    }
}

/// Returns what a program prints to stdout. Its errors go to stderr. `name` is what messages call it.
async fn output_of(name: &str, program: &str, args: &[&str]) -> Result<String, Failure> {
    let next = "correct the command, or give the code with --mfa";
    let output = tokio::process::Command::new(program)
        .args(args)
        .stderr(std::process::Stdio::inherit())
        .output()
        .await;
    let output = output.map_err(|e| Failure::new(format!("could not run {name}: {e}"), next))?;
    if !output.status.success() {
        return Err(Failure::new(
            format!("{name} ended with {} and gave no code", output.status),
            next,
        ));
    }
    // No error message shows this text: it may contain a secret.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_program_and_nothing_that_may_be_secret() {
        for (command, name) in [
            ("op item get aws --otp", "op"),
            ("/usr/bin/pass-otp x", "/usr/bin/pass-otp"),
            ("TOKEN=abc op item get x", "the command of --mfa-process"),
            ("", "the command of --mfa-process"),
        ] {
            assert_eq!(program_of(command), name, "{command}");
        }
    }
}
