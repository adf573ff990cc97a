//! The command line of deltacart: parse, run, exit code.

use clap::Parser;
use deltacart::cli::Cli;
use deltacart::{commands, log, pages};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pages::use_small_pages();
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::last_words(format_args!("{:#}", error.cause));
            ExitCode::from(error.code)
        }
    }
}
