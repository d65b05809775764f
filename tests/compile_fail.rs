#[test]
fn messages() {
    let cases = trybuild::TestCases::new();
    for topic in std::fs::read_dir("ui-tests").unwrap() {
        for f in std::fs::read_dir(topic.unwrap().path()).unwrap() {
            let p = f.unwrap().path();
            let s = p.to_str().unwrap();
            if s.ends_with("_fixed.rs") {
                cases.pass(&p)
            } else if s.ends_with(".rs") {
                cases.compile_fail(&p)
            }
        }
    }
}
