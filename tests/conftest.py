"""What every test shares. Must never start a server: that is for the tests that ask for one."""

from hypothesis import HealthCheck, settings

settings.register_profile("entri", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("entri")
