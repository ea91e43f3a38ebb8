"""Clusters vectors with scikit-learn; which number of clusters to take is decided in core."""

from typing import Any

from pada_agent.components.core.patterns.clustering import Algorithms, Clustering, Labels, Vectors, choose_clusters

STARTS = 20  # with 10, another seed gave another elbow in 38 to 70 % of draws without clear clusters


def cluster(vectors: Vectors, k_min: int, k_max: int, seed: int) -> Clustering:
    """Cluster n unit vectors (n x d) into as many groups as there are. The same seed gives the same labels."""
    from sklearn.metrics import adjusted_rand_score

    algorithms = Algorithms(kmeans=kmeans, silhouette=silhouette, agreement=adjusted_rand_score)
    return choose_clusters(vectors, k_min, k_max, algorithms, seed)


def kmeans(vectors: Vectors, k: int, seed: int) -> tuple[Labels, float]:
    """Labels (n) and inertia of the best of 20 starts."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # tens of points: starting threads takes 15 times as long as the work
        model: Any = KMeans(n_clusters=k, n_init=STARTS, random_state=seed).fit(vectors)
    return model.labels_, float(model.inertia_)


def silhouette(vectors: Vectors, labels: Labels) -> float:
    """Mean cosine silhouette, -1 to 1."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(vectors, labels, metric="cosine"))
