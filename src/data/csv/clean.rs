//! The bytes of a CSV file, in the form that the parser takes, and no more of them than it may
//! hold.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

/// Takes away what does not matter: a byte-order mark, blanks before a field (so that a quote after
/// them is one), and the ways to end a line but `\n`. Lines that are skipped are empty. Where
/// blanks delimit, they are one space.
pub(super) struct Clean {
    from: Chain<Cursor<Vec<u8>>, BufReader<Box<dyn Read>>>,
    state: State,
}

/// What no table has.
#[derive(Debug)]
pub(super) enum Flaw {
    Long { line: u64, limit: usize },
    Quote { line: u64 },
    Wide,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Long { .. } => "a line is too long",
            Self::Quote { .. } => "a quote is not closed",
            Self::Wide => "text is in UTF-16",
        })
    }
}

impl std::error::Error for Flaw {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first byte of a field.
    Start,
    Plain,
    Quoted,
    /// After a quote inside a quoted field: its end, or half of an escaped one.
    Quote,
}

struct State {
    delimiter: u8,
    limit: usize,
    skip: usize,
    place: Place,
    /// Whether blanks that delimit have come.
    gap: bool,
    after_return: bool,
    line: u64,
    /// Where the row started, and how many bytes of it there are.
    row_line: u64,
    row_bytes: usize,
}

impl Clean {
    /// Rows have up to `limit` bytes.
    pub(super) fn new(
        from: Box<dyn Read>,
        delimiter: u8,
        skip: usize,
        limit: usize,
    ) -> io::Result<Self> {
        let mut from = BufReader::new(from);
        let mut start = Vec::with_capacity(3);
        from.by_ref().take(3).read_to_end(&mut start)?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(io::Error::other(Flaw::Wide));
        }
        if start == [0xef, 0xbb, 0xbf] {
            start.clear();
        }
        let state = State {
            delimiter,
            limit,
            skip,
            place: Place::Start,
            gap: false,
            after_return: false,
            line: 1,
            row_line: 1,
            row_bytes: 0,
        };
        Ok(Self { from: Cursor::new(start).chain(from), state })
    }
}

impl Read for Clean {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let from = match self.from.fill_buf() {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                from => from?,
            };
            if from.is_empty() {
                return match self.state.place {
                    Place::Quoted => {
                        Err(io::Error::other(Flaw::Quote { line: self.state.row_line }))
                    }
                    _ => Ok(0),
                };
            }
            let (mut used, mut made) = (0, 0);
            while let (Some(&byte), Some(place)) = (from.get(used), to.get_mut(made)) {
                let (out, taken) = self.state.step(byte).map_err(io::Error::other)?;
                if let Some(out) = out {
                    *place = out;
                    made += 1;
                }
                used += usize::from(taken);
            }
            self.from.consume(used);
            if made > 0 || to.is_empty() {
                return Ok(made);
            }
        }
    }
}

impl State {
    /// What becomes of a byte, and whether it is done with.
    fn step(&mut self, byte: u8) -> Result<(Option<u8>, bool), Flaw> {
        if std::mem::take(&mut self.after_return) && byte == b'\n' {
            return Ok((None, true));
        }
        self.after_return = byte == b'\r';
        if byte == b'\n' || byte == b'\r' {
            return self.newline();
        }
        if self.skip > 0 {
            return Ok((None, true));
        }
        if self.place == Place::Quoted {
            if byte == b'"' {
                self.place = Place::Quote;
            }
            return self.keep(byte);
        }
        let blanks_delimit = self.delimiter == b' ';
        let blank = byte == b' ' || byte == b'\t' && self.delimiter != b'\t';
        if blank && (blanks_delimit || self.place == Place::Start) {
            self.gap = blanks_delimit && self.row_bytes > 0;
            return Ok((None, true));
        }
        if std::mem::take(&mut self.gap) {
            self.place = Place::Start;
            return Ok((self.keep(b' ')?.0, false));
        }
        self.place = match (byte, self.place) {
            (b'"', Place::Start | Place::Quote) => Place::Quoted,
            _ if byte == self.delimiter => Place::Start,
            _ => Place::Plain,
        };
        self.keep(byte)
    }

    fn newline(&mut self) -> Result<(Option<u8>, bool), Flaw> {
        self.line += 1;
        if self.place == Place::Quoted {
            return self.keep(b'\n');
        }
        self.skip = self.skip.saturating_sub(1);
        (self.place, self.gap) = (Place::Start, false);
        (self.row_line, self.row_bytes) = (self.line, 0);
        Ok((Some(b'\n'), true))
    }

    fn keep(&mut self, byte: u8) -> Result<(Option<u8>, bool), Flaw> {
        self.row_bytes += 1;
        if self.row_bytes > self.limit {
            return Err(Flaw::Long { line: self.row_line, limit: self.limit });
        }
        Ok((Some(byte), true))
    }
}
