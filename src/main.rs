//! The binary: it parses the command line, runs the command and returns its exit code.

use deltacart::cli::{Cli, redacted};
use deltacart::{commands, log, memory_pages};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory_pages::use_small_pages();
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| redacted(error).exit());
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::final_error(format_args!("{:#}", error.cause));
            ExitCode::from(error.code)
        }
    }
}
