//! GenDR, a one-step generative photo restorer: the library people call.
