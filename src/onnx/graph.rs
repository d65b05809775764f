//! A graph that is being built: nodes, known tensors, and names that are all different.

use std::collections::{HashMap, HashSet};

use super::messages::{AttributeProto, NodeProto, TensorProto};

/// Nodes and known tensors.
#[derive(Default)]
pub(super) struct Graph {
    pub nodes: Vec<NodeProto>,
    pub initializers: Vec<Initializer>,
    /// Those of values, nodes and known tensors.
    names: HashSet<String>,
    /// How often a name was asked for that was taken.
    again: HashMap<String, usize>,
}

/// A tensor that is known. Its numbers are read when it is written, so that no two are in memory
/// at a time.
pub(super) struct Initializer {
    pub name: String,
    pub dims: Vec<usize>,
    pub numbers: Numbers,
}

/// A tensor's numbers, row-major.
pub(super) enum Numbers {
    /// Weights, or what follows from them.
    Floats(Box<dyn Fn() -> Vec<f32>>),
    /// A shape.
    Integers(Vec<i64>),
}

impl Initializer {
    /// How many bytes its numbers take.
    pub fn bytes(&self) -> u64 {
        let each = match self.numbers {
            Numbers::Floats(_) => size_of::<f32>(),
            Numbers::Integers(_) => size_of::<i64>(),
        };
        self.dims.iter().map(|&size| size as u64).product::<u64>() * each as u64
    }

    /// All but its numbers.
    pub fn header(&self) -> TensorProto {
        TensorProto {
            dims: self.dims.iter().map(|&size| size as i64).collect(),
            data_type: match self.numbers {
                Numbers::Floats(_) => TensorProto::FLOAT,
                Numbers::Integers(_) => TensorProto::INT64,
            },
            name: self.name.clone(),
            raw_data: Vec::new(),
        }
    }
}

/// What a node gives: one row for each of the batch, or one that stands for all.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub name: String,
    /// Numbers in a row.
    pub width: usize,
    pub layout: Layout,
}

/// How the numbers of a row lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[batch, N]`; an image's as in the crate, pixel by pixel.
    Rows,
    /// `[batch, N]`, an image's plane by plane.
    Planes { channels: usize },
    /// `[batch, C, H, W]`, as ONNX's convolutions take it.
    Image { channels: usize, height: usize, width: usize },
}

impl Value {
    /// `[batch, width]`.
    pub fn rows(name: String, width: usize) -> Self {
        Self { name, width, layout: Layout::Rows }
    }

    /// The same numbers under another name.
    pub fn renamed(&self, name: String) -> Self {
        Self { name, ..self.clone() }
    }
}

impl Graph {
    /// This name, or where it is taken the name with a number.
    fn unique(&mut self, name: &str) -> String {
        if self.names.insert(name.to_owned()) {
            return name.to_owned();
        }
        let again = self.again.entry(name.to_owned()).or_insert(1);
        loop {
            *again += 1;
            let numbered = format!("{name}_{again}");
            if self.names.insert(numbered.clone()) {
                return numbered;
            }
        }
    }

    /// Keeps a name for an input or output.
    pub fn reserve(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// Adds an operator with one output; the output's name, which is the node's too.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        name: &str,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let name = self.unique(name);
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.to_owned(),
            attribute,
        });
        name
    }

    /// The tensor of this name, which is stored once however often it is asked for.
    pub fn weight(
        &mut self,
        name: String,
        dims: &[usize],
        numbers: impl Fn() -> Vec<f32> + 'static,
    ) -> String {
        self.initializer(name, dims, || Numbers::Floats(Box::new(numbers)))
    }

    /// One number.
    pub fn number(&mut self, value: f64) -> String {
        self.weight(format!("number.{value}"), &[], move || vec![value as f32])
    }

    /// A shape, in which 0 is the size that comes, and −1 what is left.
    pub fn shape(&mut self, sizes: &[i64]) -> String {
        let text: Vec<String> = sizes.iter().map(i64::to_string).collect();
        let name = format!("shape.{}", text.join("x"));
        self.initializer(name, &[sizes.len()], || Numbers::Integers(sizes.to_vec()))
    }

    fn initializer(
        &mut self,
        name: String,
        dims: &[usize],
        numbers: impl FnOnce() -> Numbers,
    ) -> String {
        if self.names.insert(name.clone()) {
            let (name, dims, numbers) = (name.clone(), dims.to_vec(), numbers());
            self.initializers.push(Initializer { name, dims, numbers });
        }
        name
    }

    /// Gives the value that a node has made the name that users see.
    pub fn rename(&mut self, from: &str, to: &str) {
        let places = self.nodes.iter_mut().flat_map(|node| {
            let names = node.input.iter_mut().chain(&mut node.output);
            names.filter(|name| *name == from)
        });
        places.for_each(|name| to.clone_into(name));
    }

    /// Drops what the value of this name does not need.
    pub fn prune(&mut self, output: &str) {
        let mut needed = HashSet::from([output.to_owned()]);
        // A node comes after those that it needs.
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.reverse();
        nodes.retain(|node| {
            let is_needed = node.output.iter().any(|name| needed.contains(name));
            if is_needed {
                needed.extend(node.input.iter().cloned());
            }
            is_needed
        });
        nodes.reverse();
        self.nodes = nodes;
        self.initializers.retain(|initializer| needed.contains(&initializer.name));
    }
}
