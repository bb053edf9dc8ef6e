"""Operations that the specification defines and every service offers; those of a use case are the services' own."""
