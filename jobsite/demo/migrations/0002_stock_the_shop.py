"""A few products to sell, one of them scarce, and the gateway's switch."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

PRODUCTS = [
    ("CUP", "Espresso cup", 1250, 500),
    ("TEA", "Green tea, 100 g", 890, 500),
    ("PEN", "Fountain pen", 4900, 200),
    ("POSTER", "Signed poster", 3500, 5),  # soon sold out: shows what a job does that can not succeed
]


def stock(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Add what is not there yet."""
    for sku, name, price_cents, pieces in PRODUCTS:
        apps.get_model("shop", "Product").objects.get_or_create(
            sku=sku, defaults={"name": name, "price_cents": price_cents, "stock": pieces}
        )
    apps.get_model("shop", "GatewaySwitch").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [migrations.RunPython(stock, migrations.RunPython.noop)]
