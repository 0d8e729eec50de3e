from django import template

from web.money import money

register = template.Library()
register.filter(money)
