//! The command line of deltacart.

fn main() {}
