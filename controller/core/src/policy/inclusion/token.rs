//! The tokens of a pattern.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Char(char),
    One,
    Many,
    /// A policy variable with its name, such as `aws:username`.
    Variable(Box<str>),
}

/// A pattern in one of the two readings of an ARN.
#[derive(Clone, Copy)]
pub struct Side<'p> {
    pub tokens: &'p [Token],
    /// Wildcards in front of this position end at the next colon.
    pub limited_to: usize,
}

impl Side<'_> {
    pub fn get(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at)
    }

    pub const fn is_limited(&self, at: usize) -> bool {
        at < self.limited_to
    }
}

/// Returns the tokens of a text, with one star for several in a row.
pub fn tokens(text: &str, has_wildcards: bool, has_variables: bool) -> Vec<Token> {
    let mut tokens = vec![];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let variable = rest
            .strip_prefix("${")
            .filter(|_| has_variables)
            .and_then(|inside| inside.split_once('}'));
        if let Some((name, after)) = variable {
            tokens.push(match name {
                // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
                "*" => Token::Char('*'),
                "?" => Token::Char('?'),
                "$" => Token::Char('$'),
                name => Token::Variable(variable_name(name).into()),
            });
            rest = after;
            continue;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '*' if has_wildcards && tokens.last() == Some(&Token::Many) => {}
            '*' if has_wildcards => tokens.push(Token::Many),
            '?' if has_wildcards => tokens.push(Token::One),
            c => tokens.push(Token::Char(c)),
        }
    }
    tokens
}

/// Returns the name of a variable in lower case, with its default value as written: `${aws:username, 'Anybody'}`.
fn variable_name(inside: &str) -> String {
    match inside.split_once(',') {
        Some((name, default)) => format!("{},{default}", name.to_ascii_lowercase()),
        None => inside.to_ascii_lowercase(),
    }
}
