//! Ends without a word where nobody reads any more.

/// Where stdout is closed, as by `| head -1`, `println!` panics: the program then ends as others do
/// that a closed pipe ends, with status 141 and no message.
pub fn when_stdout_closes() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.starts_with("failed printing to stdout"))
        {
            std::process::exit(141);
        }
        usual(panic);
    }));
}
