//! The pages of a column, checked for what the reader of their values takes for granted.

use parquet::{
    basic::Encoding,
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
};

/// Pages of which dictionaries have room for what they say, and come before what needs them.
pub(super) struct CheckedPages {
    pages: Box<dyn PageReader>,
    has_dictionary: bool,
}

impl CheckedPages {
    pub(super) fn new(pages: Box<dyn PageReader>) -> Self {
        Self { pages, has_dictionary: false }
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        match &page {
            // The reader makes room for as many values before it looks at them.
            Some(Page::DictionaryPage { buf, num_values, .. }) => {
                if *num_values as usize > buf.len() {
                    let found = format!("{num_values} values in {} bytes", buf.len());
                    return Err(ParquetError::General(format!("a dictionary of {found}")));
                }
                self.has_dictionary = true;
            }
            Some(Page::DataPage { encoding, .. } | Page::DataPageV2 { encoding, .. }) => {
                let of_dictionary = [Encoding::PLAIN_DICTIONARY, Encoding::RLE_DICTIONARY];
                if !self.has_dictionary && of_dictionary.contains(encoding) {
                    let found = "a page of a dictionary that is not there".to_owned();
                    return Err(ParquetError::General(found));
                }
            }
            None => {}
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
