//! Rows as lines of a CSV file, with the text that the `csv` crate gives them: it looks at every byte of every cell, and most cells
//! of a large table are numbers or empty.

use csv::Error;
use serde::ser::{Error as _, Impossible, Serialize, SerializeStruct, Serializer};

/// Adds a row's line.
///
/// # Errors
/// A cell that is no text, number, truth or name.
pub(super) fn add_line<R: Serialize>(row: &R, lines: &mut Vec<u8>) -> Result<(), Error> {
    let begin = lines.len();
    row.serialize(Row { lines, is_first: true })?;
    // A line without a byte would be none.
    if lines.len() == begin {
        lines.extend_from_slice(b"\"\"");
    }
    lines.push(b'\n');
    Ok(())
}

/// A line on the way of being written.
struct Row<'a> {
    lines: &'a mut Vec<u8>,
    is_first: bool,
}

impl SerializeStruct for Row<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, _: &'static str, value: &T) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_first) {
            self.lines.push(b',');
        }
        value.serialize(Cell(self.lines))
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

/// What is said of a value that no cell can hold.
fn no_cell<T>() -> Result<T, Error> {
    Err(Error::custom("a cell holds one text, number, truth or name"))
}

/// What is said of a row that is no struct.
fn no_row<T>() -> Result<T, Error> {
    Err(Error::custom("a row is a struct of cells"))
}

type NoRow = Impossible<(), Error>;

/// Leaves out all of a serializer but for what is named in it.
macro_rules! none_of {
    ($refuse:ident: $($name:ident($($argument:ty),*);)*) => {
        $(fn $name(self, $(_: $argument),*) -> Result<(), Error> { $refuse() })*
    };
}

/// Refuses whatever has parts, which neither a cell nor, but for a struct, a row has.
macro_rules! no_parts {
    ($refuse:ident) => {
        type SerializeSeq = NoRow;
        type SerializeTuple = NoRow;
        type SerializeTupleStruct = NoRow;
        type SerializeTupleVariant = NoRow;
        type SerializeMap = NoRow;
        type SerializeStructVariant = NoRow;

        fn serialize_seq(self, _: Option<usize>) -> Result<NoRow, Error> {
            $refuse()
        }
        fn serialize_tuple(self, _: usize) -> Result<NoRow, Error> {
            $refuse()
        }
        fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<NoRow, Error> {
            $refuse()
        }
        fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<NoRow, Error> {
            $refuse()
        }
        fn serialize_map(self, _: Option<usize>) -> Result<NoRow, Error> {
            $refuse()
        }
        fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<NoRow, Error> {
            $refuse()
        }
        fn serialize_newtype_variant<T: ?Sized + Serialize>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<(), Error> {
            $refuse()
        }
    };
}

impl<'a> Serializer for Row<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeStruct = Row<'a>;

    no_parts!(no_row);
    none_of! { no_row:
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }
}

/// One cell, added to its line.
struct Cell<'a>(&'a mut Vec<u8>);

impl Cell<'_> {
    fn plain(self, text: &str) -> Result<(), Error> {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn whole(self, number: impl itoa::Integer) -> Result<(), Error> {
        self.plain(itoa::Buffer::new().format(number))
    }

    fn float(self, number: impl ryu::Float) -> Result<(), Error> {
        self.plain(ryu::Buffer::new().format(number))
    }

    fn text(self, text: &str) -> Result<(), Error> {
        // Looked at to their end, the few bytes of a cell are looked at side by side.
        let is_special = |byte: &u8| matches!(byte, b',' | b'"' | b'\r' | b'\n');
        if !text.as_bytes().iter().fold(false, |found, byte| found | is_special(byte)) {
            return self.plain(text);
        }
        let mut quoted = csv::Writer::from_writer(Vec::new());
        quoted.write_record([text])?;
        let line = quoted.into_inner().map_err(|error| Error::from(error.into_error()))?;
        self.0.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(&line));
        Ok(())
    }
}

impl Serializer for Cell<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeStruct = NoRow;

    no_parts!(no_cell);
    none_of! { no_cell: serialize_bytes(&[u8]); }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.plain(if value { "true" } else { "false" })
    }
    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.whole(value)
    }
    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.float(value)
    }
    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        // The sum of nothing is minus zero, which with zero added is zero; every other number stays.
        self.float(value + 0.0)
    }
    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.text(value)
    }
    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }
    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }
    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Error> {
        self.text(name)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), Error> {
        self.text(name)
    }
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<NoRow, Error> {
        no_cell()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    enum Named {
        Plain,
        #[serde(rename = "with, comma")]
        Quoted,
    }

    #[derive(Serialize)]
    struct Line {
        text: String,
        number: Option<f64>,
        whole: i64,
        truth: bool,
        name: Option<Named>,
    }

    #[derive(Serialize)]
    struct Number {
        number: f64,
    }

    #[derive(Serialize)]
    struct Single {
        only: Option<u32>,
    }

    fn as_csv_has_it<R: Serialize>(rows: &[R]) -> String {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        rows.iter().for_each(|row| writer.serialize(row).unwrap());
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    }

    fn lines<R: Serialize>(rows: &[R]) -> String {
        let mut lines = Vec::new();
        rows.iter().for_each(|row| add_line(row, &mut lines).unwrap());
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn lines_are_those_of_the_csv_crate() {
        let texts = ["", "plain", "a,b", "say \"so\"", "two\nlines", "\r", " blank ", "ümlaut", "#"];
        let numbers = [None, Some(0.0), Some(1.0), Some(1e16), Some(1e-7), Some(0.1 + 0.2), Some(f64::NAN)];
        let wholes = [0, -1, i64::MIN, i64::MAX, 42];
        let mut rows = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            for (at, &number) in numbers.iter().chain(&[Some(f64::INFINITY), Some(-1.5e300)]).enumerate() {
                let name = [None, Some(Named::Plain), Some(Named::Quoted)].into_iter().nth(at % 3).unwrap();
                let text = (*text).to_owned();
                rows.push(Line { text, number, whole: wholes[at % 5], truth: place % 2 == 0, name });
            }
        }
        assert_eq!(lines(&rows), as_csv_has_it(&rows));
    }

    #[test]
    fn there_is_one_zero() {
        let numbers = [0.0, -0.0, std::iter::empty::<f64>().sum(), -1e-300];
        assert_eq!(lines(&numbers.map(|number| Number { number })), "0.0\n0.0\n0.0\n-1e-300\n");
    }

    #[test]
    fn a_line_without_a_byte_is_a_line() {
        let rows = [Single { only: None }, Single { only: Some(1) }];
        assert_eq!(lines(&rows), as_csv_has_it(&rows));
    }

    #[test]
    fn what_no_cell_can_hold_is_refused() {
        #[derive(Serialize)]
        struct Nested {
            list: Vec<u32>,
        }
        let error = add_line(&Nested { list: vec![1] }, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "CSV write error: a cell holds one text, number, truth or name");
        assert!(add_line(&7, &mut Vec::new()).is_err());
    }
}
