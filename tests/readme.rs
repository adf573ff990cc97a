//! The README is true: its first command prints its first output, its other commands are valid, and its table of
//! limits has the defaults of the flags.

use clap::CommandFactory;
use deltacart::cli::{Cli, Command as Subcommand};
use deltacart::config;
use std::path::Path;
use std::process::Command;

pub(crate) const README: &str = include_str!("../README.md");
const DOCUMENTS: [&str; 6] = [
    README,
    include_str!("../docs/generator.md"),
    include_str!("../docs/formats.md"),
    include_str!("../docs/operations.md"),
    include_str!("../docs/evaluate.md"),
    include_str!("../docs/serving.md"),
];

/// The text of every code block in a language, in order.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let parts = document.split(fence.as_str()).skip(1);
    parts.map(|part| &part[..part.find("```").expect("a block ends")]).collect()
}

/// The words of every `deltacart` command in the shell blocks. The commands of a pipe are separate.
pub(crate) fn commands(document: &str) -> Vec<Vec<&str>> {
    let lines = blocks(document, "sh").into_iter().flat_map(str::lines);
    let parts = lines.filter(|line| !line.starts_with('#')).flat_map(|line| line.split('|'));
    let words =
        parts.map(|part| part.split_whitespace().map(|word| word.trim_matches('\'')).collect::<Vec<_>>());
    words.filter(|words| words.first() == Some(&"deltacart")).collect()
}

#[test]
fn the_first_command_prints_the_first_output() {
    let (_cargo, arguments) = blocks(README, "sh")[0].split_once(" -- ").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_deltacart"))
        .args(arguments.split_whitespace())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), blocks(README, "json")[0]);
}

#[test]
fn commands_are_understood() {
    let commands: Vec<_> = DOCUMENTS.into_iter().flat_map(commands).collect();
    assert!(commands.len() > 10, "commands are not found where they were: {commands:?}");
    for words in commands {
        // Files that a reader would have, and this test does not have.
        let has_files = words.contains(&"-F") || words.contains(&"--hostfile");
        match Cli::read(&words).map(|cli| cli.command) {
            Err(error) => panic!("{}: {error}", words.join(" ")),
            Ok(Subcommand::Run(arguments)) if !has_files => {
                config::job(*arguments).unwrap_or_else(|error| panic!("{}: {error:#}", words.join(" ")));
            }
            Ok(Subcommand::Serve(arguments)) => {
                config::replica(&arguments).unwrap_or_else(|error| panic!("{}: {error:#}", words.join(" ")));
            }
            Ok(Subcommand::Evaluate(arguments)) => {
                config::evaluate(&arguments).unwrap_or_else(|error| panic!("{}: {error:#}", words.join(" ")));
            }
            Ok(_) => {}
        }
    }
}

#[test]
fn limits_have_their_defaults() {
    let cli = Cli::command();
    let run = cli.find_subcommand("run").unwrap();
    let mut rows = 0;
    for line in README.lines().filter(|line| line.starts_with("| `--") && line.contains("` | `")) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let (flag, default) = (cells[1].trim_start_matches("--"), cells[2]);
        let argument = run.get_arguments().find(|argument| argument.get_long() == Some(flag));
        let argument = argument.unwrap_or_else(|| panic!("run has no --{flag}"));
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let said = help.contains(&format!(": {default}]"));
        let given = argument.get_default_values().iter().any(|value| value == default);
        assert!(said || given, "--{flag} has another default than {default}");
        rows += 1;
    }
    assert!(rows > 10, "the table of limits is not found where it was");
}
