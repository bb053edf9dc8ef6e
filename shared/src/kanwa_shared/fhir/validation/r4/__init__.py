"""Tables of R4's elements, codes and types; see NOTICE for where they are from."""
