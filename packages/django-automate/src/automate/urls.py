"""``path("automate/", include("automate.urls"))``."""

from automate.metrics import urlpatterns as metrics_urls

__all__ = ["app_name", "urlpatterns"]

app_name = "automate"
urlpatterns = [*metrics_urls]
