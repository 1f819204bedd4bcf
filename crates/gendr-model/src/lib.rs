//! Networks and weights of the GenDR family.
