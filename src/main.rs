//! placeholder until the plugin lands
fn main() {}
