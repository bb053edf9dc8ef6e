"""A small hospital group to try kanwa with: two sites, suites, operators with skills, four weeks of Slots."""
