import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='RateCount',
            fields=[
                ('subject', models.CharField(max_length=255, primary_key=True, serialize=False)),
                ('ends_at', models.DateTimeField(db_index=True)),
                ('count', models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='Record',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('fingerprint_version', models.PositiveSmallIntegerField()),
                ('fingerprint', models.CharField(max_length=64)),
                ('method', models.CharField(max_length=8)),
                ('path', models.TextField()),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('content_type', models.TextField(blank=True)),
                ('headers', models.JSONField(default=dict)),
                ('body', models.BinaryField(null=True)),
                ('request_id', models.CharField(blank=True, max_length=128)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('caller', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'idempotency record',
                'indexes': [models.Index(condition=models.Q(('body__isnull', False)), fields=['created_at'], name='idempotency_record_to_purge')],
                'constraints': [models.UniqueConstraint(fields=('caller', 'key'), name='idempotency_record_once'), models.CheckConstraint(condition=models.Q(models.Q(('body__isnull', True), ('status__isnull', True)), models.Q(('body__isnull', False), ('status__range', (200, 499))), _connector='OR'), name='idempotency_record_answer_or_tombstone'), models.CheckConstraint(condition=models.Q(('key', ''), _negated=True), name='idempotency_record_key_not_empty')],
            },
        ),
        migrations.CreateModel(
            name='Token',
            fields=[
                ('digest', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('issued_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('expires_at', models.DateTimeField(db_index=True)),
                ('caller', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('issued_at'))), name='idempotency_token_lives')],
            },
        ),
    ]
