//! A graph as a file, written tensor by tensor: no more than one of them is in memory.

use std::{io::Write, path::Path};

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use super::{
    OPERATION,
    graph::{Graph, Initializer, Numbers},
    messages::{GraphProto, ModelProto, TensorProto},
};
use crate::{checkpoint::write_atomically_by, error::Error};

/// How many bytes a protobuf message can have.
const MOST: u64 = i32::MAX as u64;

/// Writes a file: `model` without its graph, `outline` the graph without nodes and tensors.
pub(super) fn write(
    model: &ModelProto,
    mut outline: GraphProto,
    graph: Graph,
    path: &Path,
) -> Result<(), Error> {
    outline.node = graph.nodes;
    let bytes = check_size(model, &outline, &graph.initializers)?;
    let mut head = model.encode_to_vec();
    encode_key(ModelProto::GRAPH, WireType::LengthDelimited, &mut head);
    encode_varint(bytes, &mut head);
    outline.encode_raw(&mut head);
    drop(outline);
    write_atomically_by(path, |file| {
        let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(|e| Error::io(path, "write", e));
        put(&head)?;
        for initializer in &graph.initializers {
            put(&before_numbers(initializer))?;
            put(&numbers(initializer)?)?;
        }
        Ok(())
    })
}

/// How many bytes the graph has; an error where the file would be more than a message can be.
fn check_size(
    model: &ModelProto,
    outline: &GraphProto,
    initializers: &[Initializer],
) -> Result<u64, Error> {
    let tensors = initializers.iter().map(|one| before_numbers(one).len() as u64 + one.bytes());
    let graph = outline.encoded_len() as u64 + tensors.sum::<u64>();
    let head = model.encoded_len() + key_len(ModelProto::GRAPH) + encoded_len_varint(graph);
    let all = head as u64 + graph;
    if all <= MOST {
        return Ok(graph);
    }
    let expected = format!(
        "a graph of at most {MOST} bytes, which is all that an ONNX file can have: use a smaller \
         network, or export its weights by `NoProp::export`"
    );
    Err(Error::argument(OPERATION, expected, format!("{all} bytes")))
}

/// A tensor as a field of its graph, up to its numbers, which are its last field.
fn before_numbers(initializer: &Initializer) -> Vec<u8> {
    let (header, bytes) = (initializer.header(), initializer.bytes());
    let field = key_len(TensorProto::RAW_DATA) + encoded_len_varint(bytes);
    let mut buffer = Vec::new();
    encode_key(GraphProto::INITIALIZER, WireType::LengthDelimited, &mut buffer);
    encode_varint((header.encoded_len() + field) as u64 + bytes, &mut buffer);
    header.encode_raw(&mut buffer);
    encode_key(TensorProto::RAW_DATA, WireType::LengthDelimited, &mut buffer);
    encode_varint(bytes, &mut buffer);
    buffer
}

/// The numbers of a tensor, each the least significant byte first.
fn numbers(initializer: &Initializer) -> Result<Vec<u8>, Error> {
    match &initializer.numbers {
        Numbers::Integers(values) => Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Numbers::Floats(values) => {
            let values = values();
            if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
                let expected = "weights that are finite in f32; train on from a checkpoint that is";
                let found = format!("{bad} in `{}`", initializer.name);
                return Err(Error::not_finite(OPERATION, expected, found));
            }
            Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dims: &[usize], numbers: impl Fn() -> Vec<f32> + 'static) -> Graph {
        let mut graph = Graph::default();
        graph.weight("weight".to_owned(), dims, numbers);
        graph
    }

    #[test]
    fn what_is_written_by_parts_is_one_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("graph.onnx");
        let mut graph = of(&[2, 1], || vec![0.5, -3.0]);
        graph.shape(&[0, -1, 300]);
        graph.node("Relu", &["x"], "relu", Vec::new());
        let node = graph.nodes.clone();
        let outline = GraphProto { name: "graph".to_owned(), ..GraphProto::default() };
        let model = ModelProto { ir_version: 8, ..ModelProto::default() };
        write(&model, outline.clone(), graph, &path).unwrap();
        let found = ModelProto::decode(&*std::fs::read(&path).unwrap()).unwrap();
        let tensor = |name: &str, dims: &[i64], data_type, raw_data: Vec<u8>| TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type,
            raw_data,
        };
        let floats = [0.5f32, -3.0].into_iter().flat_map(f32::to_le_bytes).collect();
        let sizes = [0i64, -1, 300].into_iter().flat_map(i64::to_le_bytes).collect();
        let initializer =
            vec![tensor("weight", &[2, 1], 1, floats), tensor("shape.0x-1x300", &[3], 7, sizes)];
        let graph = Some(GraphProto { node, initializer, ..outline });
        assert_eq!(found, ModelProto { graph, ..model });
    }

    #[test]
    fn a_graph_that_no_file_can_hold_is_refused_before_its_numbers_are_read() {
        let path = Path::new("never written");
        let unread = || panic!("the numbers were read");
        let refused = write(
            &ModelProto::default(),
            GraphProto::default(),
            of(&[1 << 16, 8193], unread),
            path,
        );
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("at most 2147483647 bytes"), "{refused}");
        let fits = of(&[1 << 16, 8191], unread);
        check_size(&ModelProto::default(), &GraphProto::default(), &fits.initializers).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn weights_that_are_not_finite_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("graph.onnx");
        let graph = of(&[1], || vec![f32::NAN]);
        let refused = write(&ModelProto::default(), GraphProto::default(), graph, &path);
        assert!(refused.unwrap_err().to_string().contains("NaN in `weight`"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
