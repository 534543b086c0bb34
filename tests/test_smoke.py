def test_packages_import():
    import jaxattr
    import jaxattr_models

    assert jaxattr.__doc__
    assert jaxattr_models.__doc__
