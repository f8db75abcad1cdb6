"""A small Django project, for the tests of `afterquery.django`."""
