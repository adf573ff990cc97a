//! The command line of deltacart: parse, run, exit code.

use clap::Parser;
use deltacart::cli::Cli;
use deltacart::commands;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deltacart: {:#}", error.cause);
            ExitCode::from(error.code)
        }
    }
}
