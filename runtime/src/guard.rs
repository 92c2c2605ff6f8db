//! The warden's host side: notices names that appear while commands run and has the warden cover them.

use crate::{error::Result, plan::Plan};
use std::os::fd::OwnedFd;

#[derive(Debug)]
pub(crate) struct Guard;

impl Guard {
    pub(crate) fn prepare(_plan: &Plan, _control: &OwnedFd) -> Result<Option<Self>> {
        Ok(None)
    }
    pub(crate) fn inside(&self) -> Result<OwnedFd> {
        unreachable!()
    }
    pub(crate) fn watch(self) -> Result<Self> {
        Ok(self)
    }
    pub(crate) fn failed(&self) -> bool {
        false
    }
}
