//! Pages of a list, as RabbitMQ's clients ask for them: `?page=2&page_size=50&name=TEXT&use_regex=true`.
//!
//! Without `page` a list is whole, and the other parameters mean nothing, as there.

use crate::answers::{Answer, Fault};
use axum::Json;
use axum::response::IntoResponse;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

/// Objects of a page unless it is said.
const PAGE_SIZE: usize = 100;
/// Objects of a page at most.
const PAGE_SIZE_MAX: usize = 500;
/// Bytes that a client's regular expression may take when it is compiled.
const PATTERN_BYTES: usize = 1 << 20;

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    page: Option<String>,
    page_size: Option<String>,
    name: Option<String>,
    use_regex: Option<String>,
}

/// What a name has to be like.
enum Wanted {
    /// To hold this text, whatever its case.
    Text(String),
    /// To hold a match of this.
    Pattern(Regex),
}

impl Wanted {
    fn takes(&self, name: &str) -> bool {
        match self {
            Wanted::Text(text) => name.to_lowercase().contains(text.as_str()),
            Wanted::Pattern(pattern) => pattern.is_match(name),
        }
    }
}

impl Paging {
    /// The objects, each with the name that it is sought by: all of them, or the page that is asked for.
    pub(crate) fn answer<T>(
        &self,
        objects: &[T],
        name: impl Fn(&T) -> &str,
        shape: impl Fn(&T) -> Value,
    ) -> Answer {
        let Some(page) = &self.page else {
            return Ok(Json(objects.iter().map(shape).collect::<Value>()).into_response());
        };
        let page = number("page", page, usize::MAX)?;
        let size = self.page_size.as_ref().map(|size| number("page_size", size, PAGE_SIZE_MAX));
        let size = size.transpose()?.unwrap_or(PAGE_SIZE);
        let wanted = self.wanted()?;
        let fits = |object: &&T| wanted.as_ref().is_none_or(|wanted| wanted.takes(name(object)));
        let filtered: Vec<&T> = objects.iter().filter(fits).collect();
        let pages = filtered.len().div_ceil(size);
        if page > pages.max(1) {
            return Err(Fault::NoPage { pages, size, page });
        }
        let items: Vec<Value> =
            filtered.iter().skip((page - 1) * size).take(size).map(|object| shape(object)).collect();
        let answer = json!({
            "filtered_count": filtered.len(),
            "item_count": items.len(),
            "items": items,
            "page": page,
            "page_count": pages,
            "page_size": size,
            "total_count": objects.len(),
        });
        Ok(Json(answer).into_response())
    }

    fn wanted(&self) -> Result<Option<Wanted>, Fault> {
        let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) else { return Ok(None) };
        if self.use_regex.as_deref() != Some("true") {
            return Ok(Some(Wanted::Text(name.to_lowercase())));
        }
        let pattern = RegexBuilder::new(name).case_insensitive(true).size_limit(PATTERN_BYTES).build();
        match pattern {
            Ok(pattern) => Ok(Some(Wanted::Pattern(pattern))),
            Err(error) => Err(Fault::Paging(format!(
                "name is no regular expression that can be used: {}",
                last_line(&error.to_string())
            ))),
        }
    }
}

/// The regex crate draws its errors over several lines; the last one says what is wrong.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

fn number(name: &str, text: &str, most: usize) -> Result<usize, Fault> {
    text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        let expected = match most {
            usize::MAX => "a whole number from 1 on".to_owned(),
            most => format!("a whole number from 1 to {most}"),
        };
        Fault::Paging(format!("{name} is {text:?}, expected {expected}"))
    })
}
