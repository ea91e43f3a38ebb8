import pytest

from pada_agent.components.core.cost.tokens import token_count

# By Qwen2.5-Coder-1.5B, of what it wrote in a run of text-to-SQL.
COUNTED = {
    '{"items": [{"tables":"reviews(product_id, customer_id, rating, date)","sql":"SELECT rating FROM reviews ORDER BY rating DESC'
    ' LIMIT 5","question":"Top five customer reviews by rating"}]}': 41,
    '{"items": [{"tables":"customers(city)","sql":"SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 8","question":"'
    'Which cities have more than 8 customers?"} , {"tables":"products","sql":"SELECT category FROM products GROUP BY category'
    ' HAVING COUNT(*) > 10","question":"Which categories have more than 10 products?"} , {"tables":"reviews","sql":"SELECT rating'
    ' FROM reviews GROUP BY rating HAVING COUNT(*) > 5","question":"Which ratings have more than 5 reviews?"}]}': 111,
}


@pytest.mark.parametrize(("text", "counted"), COUNTED.items())
def test_near_a_real_tokenizer(text: str, counted: int) -> None:
    assert token_count(text) == pytest.approx(counted, rel=0.2)


def test_other_scripts_and_digits_are_not_counted_as_words():
    assert token_count("这是一个问题") == 6
    assert token_count("123456") == 6
    assert token_count("") == 0
