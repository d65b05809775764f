//! The README's program is the example `quickstart`, to the letter.

#[test]
fn the_shortest_program_is_the_example() {
    let readme = include_str!("../README.md").replace('\r', "");
    let (_, rest) = readme.split_once("```rust\n").expect("the README has a program");
    let (program, _) = rest.split_once("```\n").expect("the program has an end");
    let example = include_str!("../examples/quickstart.rs").replace('\r', "");
    assert_eq!(program, example);
}
