"""The event types that parameters of models may name: the preset ones of tracking (TR-2), beside custom.*."""

from typing import Final

KNOWN: Final = frozenset(
    {
        "activity_joined",
        "ad_clicked",
        "ad_exposed",
        "button_clicked",
        "call_connected",
        "cart_added",
        "cart_removed",
        "channels_video_viewed",
        "checkin",
        "checkout_started",
        "competitor_purchase_reported",
        "complaint_submitted",
        "consult_started",
        "content_commented",
        "content_engaged",
        "content_forwarded",
        "content_left",
        "content_liked",
        "content_shared",
        "content_viewed",
        "coupon_claimed",
        "favourite_added",
        "favourite_removed",
        "form_submitted",
        "game_finished",
        "group_joined",
        "group_left",
        "group_message_sent",
        "link_clicked",
        "livestream_entered",
        "livestream_left",
        "login",
        "logout",
        "menu_clicked",
        "moments_interacted",
        "oa_subscribed",
        "oa_unsubscribed",
        "order_reviewed",
        "price_compared",
        "product_code_scanned",
        "product_feedback_given",
        "product_viewed",
        "qr_scanned",
        "receipt_uploaded",
        "referral_registered",
        "registered",
        "review_submitted",
        "search_performed",
        "store_visited",
        "survey_answered",
        "video_played",
        "wecom_friend_added",
        "wecom_friend_deleted",
    }
)

REFERRAL_SUCCEEDED: Final = "custom.referral_succeeded"
"""That somebody referred pays the first order: reported of the referrer, or found out (`domain/referrals.py`)."""

PURCHASE: Final = "purchase"
"""Stands for a paid order where weights go by event type."""
