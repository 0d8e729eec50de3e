from rest_framework import serializers


class SingleUseTokenResponse(serializers.Serializer[dict[str, object]]):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
