//! `kogge completion`.

use super::{Args, Command};
use crate::completion;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Print a script that makes a shell complete commands: bash, fish, powershell or zsh",
    "[OPTIONS] SHELL",
    Args::Exactly(1),
    |_, matches| Box::pin(async move { run(&matches) }),
)
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[Flag::switch("no-descriptions", "Propose words without saying what they do")];

fn run(matches: &Matches) -> Outcome {
    let shell = matches.args[0].as_str();
    let script = completion::script(shell)
        .ok_or_else(|| Exit::failure(format!("there is no completion for {shell}")))?;
    match matches.is_on("no-descriptions") {
        true => terminal::print(&script.replace("__complete ", "__completeNoDesc ")),
        false => terminal::print(script),
    }
}
