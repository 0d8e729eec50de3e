import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import django_fsm
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Order',
            fields=[
                ('id', models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False)),
                ('status', django_fsm.FSMIntegerField(choices=[(0, 'Submitted'), (1, 'Paying'), (2, 'Paid'), (3, 'Failed')], default=0, editable=False)),
                ('amount', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('account_id', models.BigIntegerField(editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='orders', to=settings.AUTH_USER_MODEL)),
            ],
            bases=(django_fsm.ConcurrentTransitionMixin, models.Model),
        ),
        migrations.CreateModel(
            name='Product',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sku', models.CharField(max_length=64, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('price', models.BigIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ('currency', models.CharField(max_length=3)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('price__range', (1, 1000000000000))), name='orders_product_price'), models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='orders_product_iso_4217')],
            },
        ),
        migrations.CreateModel(
            name='OrderLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sku', models.CharField(max_length=64)),
                ('name', models.CharField(max_length=200)),
                ('quantity', models.IntegerField()),
                ('unit_price', models.BigIntegerField()),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='orders.order')),
                ('product', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='orders.product')),
            ],
        ),
        migrations.CreateModel(
            name='StatusChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.PositiveSmallIntegerField(choices=[(0, 'Submitted'), (1, 'Paying'), (2, 'Paid'), (3, 'Failed')])),
                ('target', models.PositiveSmallIntegerField(choices=[(0, 'Submitted'), (1, 'Paying'), (2, 'Paid'), (3, 'Failed')])),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='history', to='orders.order')),
            ],
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['customer', '-id'], name='orders_order_own_newest'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status', 1)), fields=['updated_at'], name='orders_order_still_paying'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='orders_order_positive'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', [0, 1, 2, 3])), name='orders_order_known_status'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('account_id__isnull', True), ('status', 0)), models.Q(('account_id__isnull', False), ('status__gt', 0)), _connector='OR'), name='orders_order_account_from_paying_on'),
        ),
        migrations.AddConstraint(
            model_name='orderline',
            constraint=models.CheckConstraint(condition=models.Q(('quantity__gt', 0), ('unit_price__gt', 0)), name='orders_orderline_positive'),
        ),
        migrations.AddConstraint(
            model_name='statuschange',
            constraint=models.UniqueConstraint(fields=('order', 'source'), name='orders_statuschange_once'),
        ),
        migrations.AddConstraint(
            model_name='statuschange',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('source', 0), ('target', 1)), models.Q(('source', 1), ('target__in', [2, 3])), _connector='OR'), name='orders_statuschange_legal_edge'),
        ),
    ]
