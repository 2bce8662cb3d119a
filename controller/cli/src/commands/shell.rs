//! Implements `rolectl completions`.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::completion;
use crate::stdio::print;

/// Print completions for a shell
///
/// With --dynamic the script asks rolectl while you type. It completes names of accounts, roles, sessions and namespaces from the
/// cluster, too, and waits for it at most 2 seconds. Load such a script when the shell starts: it belongs to this version of rolectl.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(rolectl completions bash --dynamic)
  rolectl completions zsh > \"${fpath[1]}/_rolectl\"
  rolectl completions fish > ~/.config/fish/completions/rolectl.fish

Exit codes: 0 printed, 2 there is no such shell.")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
    /// Also complete states, reasons, and names from the cluster
    #[arg(long)]
    dynamic: bool,
}

impl Completions {
    pub fn run(&self, mut command: Command) {
        if self.dynamic
            && let Some(script) = completion::script(self.shell)
        {
            print!("{script}");
            return;
        }
        let mut script = vec![];
        clap_complete::generate(self.shell, &mut command, "rolectl", &mut script);
        print!("{}", String::from_utf8_lossy(&script));
    }
}
