//! The `portcullis` program.

use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Result<Vec<String>, OsString> =
        std::env::args_os().skip(1).map(OsString::into_string).collect();
    match arguments {
        Ok(arguments) => portcullis::cli::main(arguments),
        Err(argument) => {
            eprintln!("portcullis: the argument {argument:?} is not Unicode");
            ExitCode::FAILURE
        }
    }
}
