"""What strangers' bytes may be, thrown at everything of ours that reads them: in CI a little, by hand for hours."""
