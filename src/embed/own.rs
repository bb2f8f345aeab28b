//! Descriptors in a program that is not ours, and may close what it has not opened: one that closes all its descriptors.
//! Their numbers may then be those of other files, which are not to be read, written or closed.

use crate::sys::fs::{self, FileId};
use std::os::fd::{AsFd, BorrowedFd};

/// What has a descriptor, for as long as that is the one that it was.
#[derive(Debug)]
pub(super) struct Own<T: AsFd> {
    value: Option<T>,
    id: Option<FileId>,
}

impl<T: AsFd> Own<T> {
    pub(super) fn new(value: T) -> Own<T> {
        let id = fs::identity(&value).ok();
        Own { value: Some(value), id }
    }

    fn is_ours(&self) -> bool {
        self.id.is_some() && fs::identity(self).ok() == self.id
    }

    /// `None`: the program has closed it.
    pub(super) fn get(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.is_ours())
    }

    /// `None`: the program has closed it.
    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        let is_ours = self.is_ours();
        self.value.as_mut().filter(|_| is_ours)
    }
}

impl<T: AsFd> AsFd for Own<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.value.as_ref().map_or(fs::HERE, AsFd::as_fd) // there is one until it is dropped
    }
}

impl<T: AsFd> Drop for Own<T> {
    fn drop(&mut self) {
        if !self.is_ours() {
            std::mem::forget(self.value.take());
        }
    }
}
