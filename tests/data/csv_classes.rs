//! CSV files with the names of their classes: as text, or as scikit-learn ships them.

use dfdx_noprop::{
    data::{ClassNames, Classes, Csv, Header, Values, csv_labels},
    prelude::*,
};

use super::csv_options::{assert_refused, default, file, read, refused};

#[test]
fn names_of_classes() {
    let names = |csv: &Csv, content: &str| {
        let data = read(csv, content).unwrap();
        let labels = data.targets();
        (labels.as_slice().to_vec(), labels.names().unwrap().as_slice().to_vec())
    };
    // In the order of the alphabet, or of size, whatever that of the rows.
    let text = Csv { classes: Classes::Text, ..default() };
    let found = names(&text, "1,2,c\n1,2, \"a\"\n1,2,b\n1,2,c\n");
    assert_eq!(found, (vec![2, 0, 1, 2], vec!["a".into(), "b".into(), "c".into()]));
    let found = names(&text, "1,2,10\n1,2,-1\n1,2,9\n");
    assert_eq!(found, (vec![2, 0, 1], vec!["-1".into(), "9".into(), "10".into()]));
    let given = ["x", "-1", "y"].map(String::from).to_vec();
    let known = Csv { classes: Classes::Names(given.clone()), ..default() };
    assert_eq!(names(&known, "1,2,-1\n1,2,y\n"), (vec![1, 2], given));
    let one = Csv { classes: Classes::Numbers { first: 1 }, ..default() };
    let found = names(&one, "1,2,3\n1,2,1\n");
    assert_eq!(found, (vec![2, 0], vec!["1".into(), "2".into(), "3".into()]));
    assert!(read(&default(), "1,2,0\n").unwrap().targets().names().is_none());
    // They stay with the rows that are selected.
    let split = read(&one, "1,2,3\n1,2,1\n").unwrap().split(0.5, 0).unwrap();
    assert_eq!(split.test.targets().names().unwrap().name(0), Some("1"));
}

#[test]
fn labels_that_are_not_of_the_classes() {
    for (classes, content, text) in [
        (
            Classes::default(),
            "1,2,setosa\n",
            "a label from 0 to 2 at line 1, column 3, found \"setosa\"; if this line is a header, set \
             `Csv::header`; if labels are text, `Csv::classes`",
        ),
        (
            Classes::default(),
            "1,2,1\n1,2,3\n",
            "a label from 0 to 2 at line 2, column 3, found \"3\"; if labels start from 1, set \
             `Csv::classes` to `Classes::Numbers { first: 1 }`",
        ),
        (
            Classes::Text,
            "1,2,a\n1,2,b\n1,2,c\n1,2,d\n",
            "one of 3 classes at line 4, column 3, found \"d\"; a further one: is it the label's \
             column, and as many classes?",
        ),
        (
            Classes::Text,
            "1,2,a\n1,2,b\n",
            "labels of 3 classes, found 2: \"a\", \"b\"; if this file has not all classes, set \
             `Csv::classes` to their names",
        ),
        (
            Classes::Text,
            "1,2,a\n1,2,?\n",
            "the name of a class in UTF-8 at line 2, column 3, found \"?\"; this marks a missing \
             value: set `Csv::skip_missing` to leave out such rows",
        ),
        (
            Classes::Names(["a", "b", "c"].map(String::from).into()),
            "1,2,a\n1,2,d\n",
            "one of the classes \"a\", \"b\", \"c\" at line 2, column 3, found \"d\"; if labels are \
             text, set `Csv::classes`",
        ),
    ] {
        let csv = Csv { classes, header: Header::Detect, ..default() };
        assert_refused(&csv, content, &format!("expected {text}"));
    }
    for names in [vec!["a", "b"], vec!["a", "b", "a"]] {
        let classes = Classes::Names(names.into_iter().map(String::from).collect());
        let error = read(&Csv { classes, ..default() }, "1,2,a\n").unwrap_err();
        assert!(matches!(error, Error::Config { setting: "Csv::classes", .. }), "{error}");
    }
}

const IRIS: &str = "6,2,setosa,versicolor,virginica
5.1,3.5,0
4.9,3.0,0
7.0,3.2,1
6.4,3.2,1
6.3,3.3,2
5.8,2.7,2
";

#[test]
fn tables_of_scikit_learn() {
    let explicit = Csv { header: Header::ScikitLearn, ..default() };
    for csv in [default(), explicit.clone()] {
        let data = read(&csv, IRIS).unwrap();
        assert_eq!(data.input(2), [7., 3.2]);
        assert_eq!(data.targets().as_slice(), [0, 0, 1, 1, 2, 2]);
        let names = data.targets().names().unwrap();
        assert_eq!(names, &ClassNames::new(["setosa", "versicolor", "virginica"]).unwrap());
    }
    let cut = IRIS.trim_end().rsplit_once('\n').unwrap().0;
    assert_refused(&default(), cut, "expected 6 rows, as line 1 says, found 5");
    let text = Csv { classes: Classes::Text, ..default() };
    let error = read(&text, IRIS).unwrap_err();
    assert!(matches!(error, Error::Config { setting: "Csv::classes", .. }), "{error}");
    let (path, _dir) = file(IRIS);
    assert_eq!(
        refused(csv_labels::<2, 5>(&path)),
        "expected the names of 5 classes at line 1, found 3"
    );
    let result = explicit.labels::<3, 3, f32>(&path);
    assert_eq!(refused(result), "expected 3 columns of inputs at line 1, found 2");
    let result = explicit.labels::<2, 3, f32>(file("a,b,c\n").0);
    assert!(result.is_err());
    // Numbers between blanks, without labels: linnerud.
    let exercise =
        Csv { delimiter: ' ', targets: vec!["Situps".into(), "Chins".into()], ..default() };
    let (path, _dir) = file("Chins Situps Jumps\n5 162 60\n2 110 60\n");
    let data: Dataset<1, Values<2>> = exercise.values(path).unwrap();
    assert_eq!(data.inputs(), [60., 60.]);
    assert_eq!(data.targets().as_slice(), [162., 5., 110., 2.]);
}

/// From a file to an accuracy by five-fold cross-validation, as a newcomer writes it.
#[test]
fn from_a_file_to_a_cross_validated_accuracy() {
    // Three classes, 50 rows each, far apart: the numbers of a file as scikit-learn ships iris.
    let mut content = String::from("150,4,setosa,versicolor,virginica\n");
    for row in 0..150 {
        let (label, wiggle) = (row / 50, f64::from(row * 7 % 10) / 20.);
        let [a, b] = [[5., 1.4], [5.9, 4.3], [6.6, 5.6]][label as usize].map(|v| v + wiggle);
        content += &format!("{a:.1},{:.1},{b:.1},{:.1},{label}\n", 3. + wiggle, b / 3.);
    }
    let (path, _dir) = file(content);
    let run = || -> Result<f64, Error> {
        type Block = ConditionalResNetDt<3, 4, 16>;
        let iris = csv_labels::<4, 3>(&path)?;
        let mut accuracy = 0.;
        for split in iris.folds(5, 0)? {
            let split = split.standardised_per_column()?;
            let variant = DiscreteTime { blocks: 3, ..DiscreteTime::default() };
            let device = AutoDevice::default();
            let mut model = NoProp::<DiscreteTime, Block, 3, 4>::new(&device, variant)?;
            model.fit(&split.train, &Fit { epochs: 30, batch_size: 16, ..Fit::default() })?;
            accuracy += model.evaluate(&split.test)?.accuracy / 5.;
        }
        Ok(accuracy)
    };
    let accuracy = run().unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
}
