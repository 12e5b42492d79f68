"""What a visitor can send to the shop."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from jobsite.demo.csv_orders import MAX_BYTES, InvalidOrders, parse_orders
from jobsite.demo.models import Card, GatewaySwitch, Product
from jobsite.demo.orders import MAX_QUANTITY, OrderLine


class OrderForm(forms.Form):
    """One order."""

    product = forms.ModelChoiceField(Product.objects.all(), empty_label=None)
    quantity = forms.IntegerField(min_value=1, max_value=MAX_QUANTITY, initial=1)
    email = forms.EmailField(label="E-mail", max_length=254, initial="ada@example.com")
    card = forms.ChoiceField(choices=Card.choices, initial=Card.GOOD, required=False)

    def line(self) -> OrderLine:
        """The order that was asked for; only when the form is valid."""
        data: dict[str, Any] = self.cleaned_data
        return OrderLine(data["product"], data["quantity"], data["email"], data["card"] or Card.GOOD)


class CsvForm(forms.Form):
    """A file of orders."""

    file = forms.FileField(
        label="CSV file", allow_empty_file=True, widget=forms.FileInput(attrs={"accept": ".csv,text/csv"})
    )

    lines: list[OrderLine]

    def clean_file(self) -> UploadedFile[Any]:
        """Reads the orders into ``lines``; every mistake becomes an error of the field."""
        file: UploadedFile[Any] = self.cleaned_data["file"]
        # One byte more than allowed is enough to see that it is too large.
        data = file.read(MAX_BYTES + 1)
        try:
            self.lines = parse_orders(data)
        except InvalidOrders as error:
            raise forms.ValidationError([str(mistake) for mistake in error.mistakes]) from error
        return file


class GatewayForm(forms.Form):
    """The gateway's switch."""

    mode = forms.ChoiceField(choices=GatewaySwitch.Mode.choices)
