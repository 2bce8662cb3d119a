//! Implements `rolectl completions` and `rolectl man`.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::stdio::print;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(rolectl completions bash)
  rolectl completions zsh > \"${fpath[1]}/_rolectl\"
  rolectl completions fish > ~/.config/fish/completions/rolectl.fish

Exit codes: 0 printed, 2 there is no such shell.")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(&self, mut command: Command) {
        let mut script = vec![];
        clap_complete::generate(self.shell, &mut command, "rolectl", &mut script);
        print!("{}", String::from_utf8_lossy(&script));
    }
}

/// Write the man pages into a folder
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl man ~/.local/share/man/man1 && man rolectl-unlock

Exit codes: 0 written, 1 the folder is not there or cannot be written, 2 wrong usage.")]
pub struct Man {
    /// The folder, which must be there
    folder: PathBuf,
}

impl Man {
    pub fn run(&self, command: Command) -> Result<(), Failure> {
        clap_mangen::generate_to(command, &self.folder).map_err(|e| {
            Failure::new(
                format!("could not write man pages into {}: {e}", self.folder.display()),
                "give a folder that is there and that you may write",
            )
        })
    }
}
