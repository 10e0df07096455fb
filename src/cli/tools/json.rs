//! One line of JSON, written as it goes. The caller opens and closes; commas come by themselves.

use crate::text::Quoted;
use core::fmt::Write;

/// A line of JSON in the making.
#[derive(Default)]
pub struct Json {
    text: String,
}

impl Json {
    /// `{` or `[`, as an element or, behind `key`, as its value.
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.comma();
        self.text.push(bracket);
        self
    }

    /// `}` or `]`
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.text.push(bracket);
        self
    }

    /// The name of what comes next.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.text.push(':');
        self
    }

    /// A string.
    pub fn string(&mut self, value: &str) -> &mut Self {
        self.comma();
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{}", Quoted(value.as_bytes()));
        self
    }

    /// A number; None is null.
    pub fn number(&mut self, value: Option<u64>) -> &mut Self {
        self.comma();
        // Writing to a String cannot fail.
        let _ = match value {
            Some(value) => write!(self.text, "{value}"),
            None => write!(self.text, "null"),
        };
        self
    }

    /// true or false
    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.comma();
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// A list of strings.
    pub fn strings<'s>(&mut self, values: impl Iterator<Item = &'s str>) -> &mut Self {
        self.open('[');
        for value in values {
            self.string(value);
        }
        self.close(']')
    }

    /// The line, with its end.
    pub fn line(mut self) -> String {
        self.text.push('\n');
        self.text
    }

    /// What stands before a value that is not the first.
    fn comma(&mut self) {
        if !matches!(self.text.bytes().next_back(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_commas_stand_between_values_only() {
        let mut json = Json::default();
        json.open('{').key("a:").string("x{").key("b").open('[').number(Some(1)).number(None).close(']');
        json.key("c").open('[').close(']').key("d").flag(true).key("e").strings(["1", "2"].into_iter()).close('}');
        assert_eq!(json.line(), "{\"a:\":\"x{\",\"b\":[1,null],\"c\":[],\"d\":true,\"e\":[\"1\",\"2\"]}\n");
    }

    #[test]
    fn json_strings_are_quoted() {
        let mut json = Json::default();
        json.string("a\\b \"c\" \x07\n");
        assert_eq!(json.line(), "\"a\\\\b \\\"c\\\" \\u0007\\u000a\"\n");
    }
}
