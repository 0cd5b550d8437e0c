"""The laboratory: kernels' mistakes as replaced functions, profiles of kernels, and what finds such mistakes."""
